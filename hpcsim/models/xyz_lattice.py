"""XYZ spins with local decay on a chain or a square lattice, in either paper's convention."""

from typing import Literal

import numpy as np
from pydantic import model_validator

from hpcsim.system import (
    Jumps,
    Number,
    Parameters,
    Parity,
    Rate,
    Spin,
    System,
    Terms,
    Translation,
    Transposition,
    WeakU1,
    lattice,
)


class Params(Parameters):
    """Sums over nearest neighbours take each bond once.

    lee2013 (its Eqs. 1, 2): Pauli matrices, d dimensions, and the standard Lindblad form,
        H = (1/2d) Σ_bonds (Jx σxσx + Jy σyσy + Jz σzσz),   decay Σ_n ( σ-ρσ+ - ½{σ+σ-, ρ} ).
        In mean field all spins down is unstable where (Jx c - Jz)(Jy c - Jz) < -decay²/16,
        c = (1/d) Σ_l cos k_l (Eq. 4).
    huber2021 (its Eqs. 34, 35): spin operators, couplings and rates over 2S, D[c]ρ = 2cρc† - c†cρ - ρc†c,
        H = (1/2S) Σ_bonds (Jx SxSx + Jy SySy + Jz SzSz),   (decay/2S) Σ_n D[S-].
        For Jz = 0 and S -> ∞ all spins down is unstable in a chain where Jx Jy < -decay². Fig. 7 of the
        paper, with a transition at Jx Jy = -decay²/16, needs 4 Jx and 4 Jy here.
    At S = 1/2 both are one model on a chain, with J(huber2021) = 2 J(lee2013) and
    decay(huber2021) = decay(lee2013)/2.

    sites      : n of a chain, or [nx, ny] of a square lattice (d = 2; [n, 1] is a chain, d = 1)
    S          : spin of every site; lee2013 has Pauli matrices, so 1/2
    Jx, Jy, Jz : couplings of nearest neighbours, in the unit of all rates
    decay      : rate of decay of each spin, γ of lee2013, Γ of huber2021
    periodic   : close the lattice in each direction; the one bond between two sites is not doubled
    convention : lee2013 or huber2021
    """

    convention: Literal["lee2013", "huber2021"]
    sites: lattice.Size
    S: Spin = 0.5
    Jx: Number
    Jy: Number
    Jz: Number = 0.0
    decay: Rate = 1.0
    periodic: bool = True

    @model_validator(mode="after")
    def _pauli(self):
        if self.convention == "lee2013" and self.S != 0.5:
            raise ValueError(
                f"S = {self.S:g}: convention lee2013 has Pauli matrices, so S: 0.5; "
                "larger spins need convention: huber2021"
            )
        return self


def build(params: Params) -> System:
    """Site (x, y) has the index y nx + x."""
    shape = lattice.shape(params.sites)
    bonds, sites = lattice.bonds(shape, params.periodic), np.arange(np.prod(shape))
    if params.convention == "lee2013":
        # σσ/2d = 4 SS/2d
        scale, rate = 2 / max(1, np.count_nonzero(np.array(shape) > 1)), params.decay
    else:
        # D of the paper is twice the standard form: (Γ/2S) D[c] has the standard rate Γ/S
        scale, rate = 1 / (2 * params.S), params.decay / params.S
    couplings = (("Sx", params.Jx), ("Sy", params.Jy), ("Sz", params.Jz))
    return System(
        spins=np.full(len(sites), params.S),
        hamiltonian=tuple(Terms((name, name), bonds, np.full(len(bonds), scale * J)) for name, J in couplings),
        jumps=(Jumps("S-", sites, np.full(len(sites), rate)),),
        symmetries=tuple(_symmetries(params, shape)),
    )


def _symmetries(params: Params, shape):
    """Rotating every second spin by π about x turns Jx = -Jy into Jx = Jy, and the decay of these spins into a gain."""
    bipartite = lattice.is_bipartite(shape, params.periodic)
    odd = np.sum(lattice.coordinates(shape), axis=0) % 2
    if params.Jx == params.Jy:
        yield WeakU1()
    elif params.Jx == -params.Jy and bipartite:
        yield WeakU1(weights=1 - 2 * odd)
    else:
        yield Parity("z")
    if params.Jz == 0 and bipartite:
        yield Transposition(np.flatnonzero(odd))
    if len(odd) > 1:
        yield Parity(None, np.arange(len(odd))[::-1])
    if params.periodic:
        for step, length in zip(((1, 0), (0, 1)), shape):
            if length > 1:
                yield Translation(lattice.translation(shape, *step))
