"""Condition numbers of eigenvalues: how far left and right eigenmatrices are from each other.

They say how much an eigenvalue moves under a change of L, |δλ| <= κ |δL|, and how far a mode grows before it decays.
At an exceptional point, where eigenvalues coalesce with their eigenmatrices, κ diverges: near one of second order as
the inverse of their difference (Minganti, Miranowicz, Chhajlany and Nori, Phys. Rev. A 100, 062131 (2019)).
"""

import numpy as np
from scipy import linalg

from hpcsim.methods import Dim, Output
from hpcsim.methods.liouvillian.saved import APART, eigenvectors, together
from hpcsim.methods.liouvillian.sectors import Scaled, Sector

LARGEST = 30000  # unknowns of a sector: one factorisation of it and one of its transpose for each eigenvalue


def outputs(options) -> tuple[Output, ...]:
    return (
        Output(
            "condition",
            (Dim("eigenvalue", tuple(range(options.eigenvalues))),),
            "1",
            "condition number of the eigenvalue, in the Hilbert-Schmidt norm; of equal ones together",
            reduce="merge",
            sources=("eigenvalues",),
        ),
    )


def check(unknowns: float) -> None:
    """ValueError where the largest sector, of so many unknowns, is too large."""
    if unknowns > LARGEST:
        raise ValueError(
            f"method.conditions = true: a sector has {unknowns:.4g} unknowns, and {LARGEST} are the limit; delete it"
        )


def condition_numbers(comm, sector: Sector, values: np.ndarray) -> np.ndarray:
    """|r| |l| / |⟨l, r⟩| of right and left eigenmatrices r and l of known eigenvalues, NaN where those are. Collective.

    Of equal ones, closer than APART of the norm of L, it is the norm of the projection onto their space, and larger by
    |L - λ| in there over APART of the norm of L: at an exceptional point, a lower bound.
    """
    found = np.full(len(values), np.nan)
    if comm.rank == 0 and len(known := np.flatnonzero(~np.isnan(values))):
        matrix = Scaled(sector).rows(0, sector.size).tocsc()
        closest = APART * abs(matrix).sum(1).max()
        for group in together(matrix, values[known]):
            right, left = (
                linalg.qr(eigenvectors(each, values[known[group]]).T, mode="economic")[0]
                for each in (matrix, matrix.T.tocsc())
            )
            inside = right.conj().T @ (matrix @ right) - values[known[group]].mean() * np.eye(len(group))
            coupled = max(1.0, linalg.norm(inside, 2) / closest)
            found[known[group]] = coupled / max(linalg.svdvals(left.T @ right)[-1], np.finfo(float).eps)
    return comm.bcast(found)
