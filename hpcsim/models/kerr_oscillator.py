"""The driven dissipative Kerr oscillator (huber2020, Eqs. 6 and 7)."""

from typing import Annotated

import numpy as np
from pydantic import Field

from hpcsim.system import Jumps, Number, Parameters, Rate, System, Terms, WeakU1, Whole
from hpcsim.system.vocabulary import LATER


class Params(Parameters):
    """H = -detuning c†c + (U/D) c†c†cc + √D F (c† + c), dissipation decay D[c] with
    D[c]ρ = 2cρc† - c†cρ - ρc†c: the amplitude decays at `decay`, the number of quanta at twice that.

    With U = detuning = 10 decay and D = 50 the exact ⟨c†c⟩ passes from 0.04 D to 0.6 D around F = 1.76 decay,
    the transition of the paper; with half of this decay, D[c] in standard form, it does so around 1.57.

    detuning : Δ, a rate
    U, F     : nonlinearity and drive, rates
    D        : effective dimension; D -> ∞ is the thermodynamic limit, ⟨c†c⟩ grows as D
    decay    : γ
    n_th     : quanta in the bath: a has (1 + n_th) times the rate of the decay, and a† n_th times it
    cutoff   : number of Fock states kept, n = 0..cutoff-1
    """

    LATER = LATER["kerr_oscillator"]

    detuning: Number
    U: Number
    F: Number
    D: Annotated[Number, Field(gt=0)] = 1.0
    decay: Rate = 1.0
    n_th: Rate = 0.0
    cutoff: Annotated[Whole, Field(ge=2)]


def build(params: Params) -> System:
    one, nonlinearity = np.array([[0]]), params.U / params.D
    drive = np.sqrt(params.D) * params.F
    return System(
        spins=np.zeros(1),
        cutoffs=np.array([params.cutoff]),
        # c†c†cc = n² - n
        hamiltonian=(
            Terms(("n", "n"), np.array([[0, 0]]), np.array([nonlinearity])),
            Terms(("n",), one, np.array([-params.detuning - nonlinearity])),
            Terms(("x",), one, np.array([drive])),
        ),
        # D of the paper is twice the standard form
        jumps=(
            Jumps("a", one[0], np.array([2 * params.decay * (1 + params.n_th)])),
            *([Jumps("a+", one[0], np.array([2 * params.decay * params.n_th]))] if params.n_th else []),
        ),
        symmetries=(WeakU1(),) if params.F == 0 else (),
    )
