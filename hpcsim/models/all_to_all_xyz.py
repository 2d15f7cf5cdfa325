"""All-to-all XYZ spins 1/2 with local and collective dissipation (huybrechts2020, Eqs. 2-4 and 19)."""

from typing import Annotated

import numpy as np
from pydantic import Field

from hpcsim.system import Jumps, Number, Parameters, Parity, Rate, System, Terms, Translation, WeakU1, Whole

MOST_SPINS = 5000  # every pair is a term


class Params(Parameters):
    """Pauli matrices σ, σ∓ = (σx ∓ iσy)/2, and the standard Lindblad form D[c]ρ = cρc† - ½{c†c, ρ}:

    H = (1/(N-1)) Σ_{i<j} (Jx σxσx + Jy σyσy + Jz σzσz) + field_x Σ_i (cos θ σx + sin θ σy)
    local       Σ_i ( decay D[σ-] + gain D[σ+] + dephasing D[σz/2] )
    collective  ( collective_decay D[Σσ-] + collective_gain D[Σσ+] + collective_dephasing D[Σσz/2] ) / (N-1)

    H is Eq. 4 up to a constant. The paper names gain, which it calls pump, and dephasing but does not define them:
    here ⟨σx⟩ of one spin decays at (decay + gain + dephasing)/2.

    sites                           : number N of spins, at least 2
    Jx, Jy, Jz                      : couplings of all pairs, in the unit of all rates
    decay, collective_decay         : γ, Γ
    gain, collective_gain           : the same upwards
    dephasing, collective_dephasing : of σz/2
    field_x                         : h of the probe, Eq. 19, along x unless field_angle turns it
    field_angle                     : θ in units of π, from x to y
    """

    FORMERLY = {"sites": "N", "gain": "pump", "collective_gain": "collective_pump", "field_x": "field"}

    sites: Annotated[Whole, Field(ge=2, le=MOST_SPINS)]
    Jx: Number
    Jy: Number
    Jz: Number
    decay: Rate = 0.0
    collective_decay: Rate = 0.0
    dephasing: Rate = 0.0
    collective_dephasing: Rate = 0.0
    gain: Rate = 0.0
    collective_gain: Rate = 0.0
    field_x: Number = 0.0
    field_angle: Number = 0.0


def build(params: Params) -> System:
    N, sites = params.sites, np.arange(params.sites)
    pairs = np.column_stack(np.triu_indices(N, 1))
    # σ = 2 S
    terms = [
        Terms((name, name), pairs, np.full(len(pairs), 4 * J / (N - 1)))
        for name, J in (("Sx", params.Jx), ("Sy", params.Jy), ("Sz", params.Jz))
    ]
    terms += [
        Terms((name,), sites[:, None], np.full(N, 2 * params.field_x * part))
        for name, part in zip(("Sx", "Sy"), _direction(params))
    ]
    jumps = []
    for name, local, collective in (
        ("S-", params.decay, params.collective_decay),
        ("S+", params.gain, params.collective_gain),
        ("Sz", params.dephasing, params.collective_dephasing),
    ):
        if local:
            jumps.append(Jumps(name, sites, np.full(N, local)))
        if collective:
            jumps.append(Jumps(name, sites, np.array([collective / (N - 1)]), collective=True))
    return System(
        spins=np.full(N, 0.5),
        hamiltonian=tuple(t for t in terms if np.any(t.coefficients)),
        jumps=tuple(jumps),
        symmetries=tuple(_symmetries(params)),
    )


def _direction(params: Params) -> np.ndarray:
    """cos θ and sin θ, exact where they are 0."""
    return np.round([np.cos(np.pi * params.field_angle), np.sin(np.pi * params.field_angle)], 15)


def _symmetries(params: Params):
    """Two of all permutations of the spins are declared: the cyclic one and the reversal."""
    if params.field_x == 0:
        yield WeakU1() if params.Jx == params.Jy else Parity("z")
    if params.decay == params.gain and params.collective_decay == params.collective_gain:
        # rotations about x and about y exchange σ- and σ+; one of them keeps the field
        along_x, along_y = _direction(params)
        if params.field_x == 0 or along_y == 0:
            yield Parity("x")
        elif along_x == 0:
            yield Parity("y")
    yield Parity(None, np.arange(params.sites)[::-1])
    yield Translation(np.roll(np.arange(params.sites), -1))
