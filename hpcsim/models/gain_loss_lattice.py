"""Spins with gain on sublattice a and loss on sublattice b (huber2020, Eqs. 1-3)."""
import numpy as np
from pydantic import Field

from hpcsim.lattice import chain_bonds
from hpcsim.system import Count, Jumps, Number, Parameters, Rate, Spin, System, Terms, Transposition, WeakU1


class Params(Parameters):
    """H = (1/2S) Σ_n [ g S+_{a,n} S-_{b,n} + h S+_{b,n} S-_{a,n+1} + h.c. ],
    dissipation (1/2S) Σ_n ( gain D[S+_{a,n}] + loss D[S-_{b,n}] ) with D[c]ρ = 2cρc† - c†cρ - ρc†c.

    cells    : unit cells (a, b) of the chain; one cell is the dimer
    S        : spin of every site
    g, h     : couplings in and between cells, in units of a rate (g sets the unit)
    gain     : Γg on the a sites
    loss     : Γl on the b sites
    periodic : couple the last cell to the first
    """

    cells: Count = 1
    S: Spin
    g: Number = 1.0
    h: Number = 0.0
    gain: Rate
    loss: Rate
    periodic: bool = Field(default=True)


def build(params: Params) -> System:
    """Sites 2n = (a, n) and 2n+1 = (b, n)."""
    n, S = params.cells, params.S
    a, b = 2 * np.arange(n), 2 * np.arange(n) + 1
    between = chain_bonds(n, params.periodic)
    bonds = np.vstack([np.column_stack([a, b]), np.column_stack([b[between[:, 0]], a[between[:, 1]]])])
    # S+S- + h.c. = 2 (SxSx + SySy)
    coupling = np.concatenate([np.full(n, params.g), np.full(len(between), params.h)]) / S
    return System(
        spins=np.full(2 * n, S),
        hamiltonian=(Terms(("Sx", "Sx"), bonds, coupling), Terms(("Sy", "Sy"), bonds, coupling)),
        # D of the paper is twice the standard form: (Γ/2S) D[c] has the standard rate Γ/S
        jumps=(Jumps("S+", a, np.full(n, params.gain / S)), Jumps("S-", b, np.full(n, params.loss / S))),
        symmetries=(WeakU1(), Transposition(b)),
        sublattice=np.tile([0, 1], n),
        sublattices=("a", "b"),
        units="g",
    )
