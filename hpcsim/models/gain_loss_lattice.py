"""Spins with gain on sublattice a and loss on sublattice b (huber2020, Eqs. 1-3; in 2D Appendix A 1)."""

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
    """H = (1/2S) Σ_n [ g S+_{a,n} S-_{b,n} + h S+_{b,n} S-_{a,n+1} + h.c. ],
    dissipation (1/2S) Σ_n ( gain D[S+_{a,n}] + loss D[S-_{b,n}] ) with D[c]ρ = 2cρc† - c†cρ - ρc†c.

    The square lattice of [nx, ny] cells has 2 nx sites in each of ny rows, a and b in a checkerboard. Each
    row and each column is such a chain: the bond from a site to the next along x or y is g from an a site,
    h from a b site. A site then has two bonds g and two bonds h, which the paper's boundary of the
    antiferromagnetic phase, gain loss = 4 (g + h)², implies (it does not say how they lie).

    cells    : unit cells (a, b) of the chain, one cell is the dimer; or [nx, ny], where [n, 1] is a chain
    S        : spin of every site
    g, h     : couplings in and between cells, in units of a rate (g sets the unit)
    gain     : Γg on the a sites
    loss     : Γl on the b sites
    periodic : close the lattice in each direction; the dimer has no bond h. On a square lattice it needs at
               least 2 cells along x and an even number, at least 4, of rows
    """

    cells: lattice.Size = 1
    S: Spin
    g: Number = 1.0
    h: Number = 0.0
    gain: Rate
    loss: Rate
    periodic: bool = True

    @model_validator(mode="before")
    @classmethod
    def _no_sites(cls, values):
        if isinstance(values, dict) and {"sites", "N"} & values.keys():
            raise ValueError(
                "this model counts unit cells of two sites, a and b: give cells, half of the sites along x"
            )
        return values

    @model_validator(mode="after")
    def _closes(self):
        nx, ny = lattice.shape(self.cells)
        if self.periodic and ny > 1 and (nx < 2 or ny < 4 or ny % 2):
            raise ValueError(
                f"cells = [{nx}, {ny}] cannot be periodic, which needs nx >= 2 and an even "
                "ny >= 4: change cells, or write periodic: false"
            )
        return self


def build(params: Params) -> System:
    """On the chain, sites 2n = (a, n) and 2n+1 = (b, n)."""
    nx, ny = lattice.shape(params.cells)
    shape, S = (2 * nx, ny), params.S
    x, y = lattice.coordinates(shape)
    sublattice = (x + y) % 2
    a, b = np.flatnonzero(sublattice == 0), np.flatnonzero(sublattice == 1)
    bonds = lattice.bonds(shape, params.periodic)
    # S+S- + h.c. = 2 (SxSx + SySy)
    coupling = np.where(sublattice[bonds[:, 0]] == 0, params.g, params.h) / S
    return System(
        spins=np.full(len(x), S),
        hamiltonian=(Terms(("Sx", "Sx"), bonds, coupling), Terms(("Sy", "Sy"), bonds, coupling)),
        # D of the paper is twice the standard form: (Γ/2S) D[c] has the standard rate Γ/S
        jumps=(Jumps("S+", a, np.full(len(a), params.gain / S)), Jumps("S-", b, np.full(len(b), params.loss / S))),
        symmetries=(WeakU1(), Transposition(b), *_spatial(params, shape)),
        sublattice=sublattice,
        sublattices=("a", "b"),
        units="g",
    )


def _spatial(params: Params, shape) -> list:
    """Translations by a cell and two inversions: one keeps a and b, the other exchanges them and rotates the spins."""
    (length, rows), (x, y) = shape, lattice.coordinates(shape)
    found = []
    if params.periodic and length > 2:
        found.append(Translation(lattice.translation(shape, 2, 0)))
        if rows > 1:
            found.append(Translation(lattice.translation(shape, 0, 2)))
        if params.g == params.h:
            found.append(Parity(None, -y % rows * length + -x % length))
    if params.gain == params.loss and (params.periodic or rows % 2):
        # x -> -1-x exchanges a and b and keeps g apart from h; a rotation about x turns S+ into S-
        there = -y % rows if params.periodic else rows - 1 - y
        found.append(Parity("x", there * length + length - 1 - x))
    return found
