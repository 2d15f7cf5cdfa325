"""The transverse-field Ising ring whose field turns about y from site to site."""

from typing import Annotated

import numpy as np
from pydantic import Field

from hpcsim.system import Jumps, Number, Parameters, Rate, Spin, System, Terms, Whole


class Params(Parameters):
    """H = -(J/S) Σ_i Sx_i Sx_i+1 - field Σ_i (cos φ_i Sz_i + sin φ_i Sx_i), φ_i = 2π turns i / sites,
    with the jump operators S-_i at the rate decay/S.

    sites : of the ring, at least 3
    S     : spin of every site
    J     : Ising coupling
    field : transverse where it points along z
    turns : whole turns of the field around the ring
    decay : rate of each spin downwards
    """

    sites: Annotated[Whole, Field(ge=3)]
    S: Spin = 0.5
    J: Number = 1.0
    field: Number = 0.0
    turns: Whole = 0
    decay: Rate = 1.0


def build(params: Params) -> System:
    n, sites = params.sites, np.arange(params.sites)
    angles = 2 * np.pi * params.turns * sites / n
    ring = np.column_stack([sites, np.roll(sites, -1)])
    return System(
        spins=np.full(n, params.S),
        hamiltonian=(
            Terms(("Sx", "Sx"), ring, np.full(n, -params.J / params.S)),
            Terms(("Sz",), sites[:, None], -params.field * np.cos(angles)),
            Terms(("Sx",), sites[:, None], -params.field * np.sin(angles)),
        ),
        jumps=(Jumps("S-", sites, np.full(n, params.decay / params.S)),),
    )
