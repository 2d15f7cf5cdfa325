"""One collective spin with drive, twist, decay and dephasing (huber2021, Sections 3.1-3.4)."""

import numpy as np

from hpcsim.system import Jumps, Number, Parameters, Parity, Rate, Spin, System, Terms, Transposition, WeakU1
from hpcsim.system.vocabulary import LATER


class Params(Parameters):
    """H = field_x Sx + (twist/2S) Sx², dissipation (decay/2S) D[S-] + dephasing D[Sz]
    with D[c]ρ = 2cρc† - c†cρ - ρc†c.

    S         : the spin
    field_x   : Ω of the drive, a rate
    twist     : g of the one-axis twisting, a rate
    decay     : Γ
    dephasing : Γφ; ⟨Sx⟩ decays as exp(-Γφ t)
    n_th      : quanta in the bath: the rate of S- is (1 + n_th) times the decay, and S+ has n_th times it
    """

    FORMERLY, LATER = {"field_x": "drive"}, LATER["collective_spin"]

    S: Spin
    field_x: Number = 0.0
    twist: Number = 0.0
    decay: Rate = 0.0
    dephasing: Rate = 0.0
    n_th: Rate = 0.0


def build(params: Params) -> System:
    one, S = np.array([0]), params.S
    field = Terms(("Sx",), one[:, None], np.array([params.field_x]))
    twist = Terms(("Sx", "Sx"), np.array([[0, 0]]), np.array([params.twist / (2 * S)]))
    symmetries = []
    if params.field_x == 0:
        symmetries.append(WeakU1() if params.twist == 0 else Parity("z"))
    if params.decay == 0:
        symmetries.append(Parity("x"))
    if params.twist == 0:
        symmetries.append(Transposition(one))
    return System(
        spins=np.array([S]),
        hamiltonian=(field, twist),
        # D of the paper is twice the standard form
        jumps=(
            Jumps("S-", one, np.array([params.decay / S * (1 + params.n_th)])),
            *([Jumps("S+", one, np.array([params.decay / S * params.n_th]))] if params.n_th else []),
            Jumps("Sz", one, np.array([2 * params.dephasing])),
        ),
        symmetries=tuple(symmetries),
    )
