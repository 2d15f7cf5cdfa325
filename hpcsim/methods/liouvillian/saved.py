"""Saved states: the steady state, or the eigenmatrices of a spectrum, as matrices in the product basis.

Site 0 is the slowest index of the basis; on every site Sz, or the number of a boson mode, falls.
"""

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from hpcsim.methods import Dim, Output
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.solvers import SolverError
from hpcsim.system import System

# states of the Hilbert space: 16 MiB for each ρ in the file; of a spectrum, one factorisation for each eigenvalue
LARGEST = {"steady_state": 1024, "spectrum": 64}
APART = 1e-7  # eigenvalues closer than this, relative to the norm, share an invariant space
NEARLY = (1e-10, 1e-7)  # distance to an eigenvalue, relative to the norm, at which the matrix is factorised
NOTHING = 1e-4  # singular values this small, relative to the largest, are rounding


def check(system: System, task: str) -> None:
    """ValueError where the matrices would be too large for the file."""
    if system.dimension > LARGEST[task]:
        raise ValueError(
            f"method.save_state = true: ρ has {system.dimension:.4g} states, and {LARGEST[task]} at most are kept for "
            f"task: {task}; delete it, or ask for reduced density matrices of a few sites in method.observables"
        )


def outputs(system: System, options) -> tuple[Output, ...]:
    """ρ_mn at (ket m, bra n)."""
    states = tuple(range(round(system.dimension)))
    dims = Dim("ket", states), Dim("bra", states)
    if options.task == "steady_state":
        return (Output("rho", dims, "1", "⟨ket|ρ|bra⟩ in the product basis, site 0 slowest, Sz falling", dtype="c16"),)
    return (
        Output(
            "eigenmatrices",
            (*dims, Dim("eigenvalue", tuple(range(options.eigenvalues)))),
            "1",
            "⟨ket|x|bra⟩ of each eigenvalue, Tr x†x = 1, in the product basis, site 0 slowest, Sz falling",
            dtype="c16",
            reduce="merge",
            sources=("eigenvalues",),
        ),
    )


def density_matrix(comm, sector: Sector, local: np.ndarray) -> np.ndarray:
    """Σ_u x_u B_u in the product basis, from this rank's part of the components: (D, D). Collective."""
    return _matrix(sector, np.concatenate(comm.allgather(local)))


def _matrix(sector: Sector, x: np.ndarray) -> np.ndarray:
    layout, order, elements = sector.layout, sector.operators.order, sector.elements(x)
    states = [order[start:stop] for start, stop in zip(layout.first, layout.first[1:])]
    found = np.zeros((len(order), len(order)), complex)
    for b, bra in enumerate(states[: len(states) - layout.k]):
        ket = states[b + layout.k]
        block = elements[layout.pairs[b] : layout.pairs[b + 1]]
        found[np.ix_(ket, bra)] = block.reshape(len(ket), len(bra))
    return found


def eigenmatrices(comm, sector: Sector, values: np.ndarray) -> np.ndarray:
    """The eigenmatrices of known eigenvalues of a sector: (D, D, len(values)), NaN where those are. Collective.

    Equal eigenvalues have independent ones, as far as there are any.
    """
    found = None
    if comm.rank == 0:
        D = len(sector.operators.order)
        found = np.full((D, D, len(values)), complex(np.nan, np.nan))
        known = np.flatnonzero(~np.isnan(values))
        matrix = sector.rows(0, sector.size).tocsc() if len(known) else None
        for group in together(matrix, values[known]):
            kept = _independent(sector, eigenvectors(matrix, values[known[group]]))
            found[..., known[group][: len(kept)]] = np.moveaxis(kept, 0, -1)
    return comm.bcast(found)


def together(matrix, values: np.ndarray):
    """The places of values that are nearly equal, group by group."""
    left = np.arange(len(values))
    closest = APART * abs(matrix).sum(1).max() if len(values) else 0
    while len(left):
        same = abs(values[left] - values[left[0]]) <= closest
        yield left[same]
        left = left[~same]


def _independent(sector: Sector, vectors: np.ndarray) -> np.ndarray:
    """The eigenmatrices of one eigenvalue: (at most as many as vectors, D, D).

    The real matrix of a `doubled` sector has the eigenvalues of the adjoint sector too, whose eigenmatrices are found
    from x* and not from x.
    """
    own = [_matrix(sector, x) for x in vectors]
    if not sector.doubled:
        return np.array([each / np.linalg.norm(each) for each in own])
    every = np.array(own + [_matrix(sector, x.conj()).conj().T for x in vectors])
    _, sizes, basis = linalg.svd(every.reshape(len(every), -1), full_matrices=False)
    rank = min(len(vectors), int(np.sum(sizes > NOTHING * sizes[0])))
    return basis[:rank].reshape(rank, *own[0].shape)


def eigenvectors(matrix, values: np.ndarray) -> np.ndarray:
    """A row for each of the eigenvalues, which are nearly equal, by inverse iteration."""
    factors = _factors(matrix, values.mean())
    vectors = np.random.default_rng(0).standard_normal((matrix.shape[0], len(values))).astype(complex)
    for _ in range(3):
        vectors = linalg.qr(factors.solve(vectors), mode="economic")[0]
    found, rotation = linalg.eig(vectors.conj().T @ (matrix @ vectors))
    return (vectors @ rotation[:, _pairing(found, values)]).T


def _factors(matrix, value: complex):
    """Factors of the matrix minus nearly this eigenvalue: less nearly where it is one of an exceptional point."""
    for beside in NEARLY:
        shift = value + beside * abs(matrix).sum(1).max()
        try:
            return splu((matrix - shift * sparse.identity(matrix.shape[0], format="csc")).astype(complex))
        except RuntimeError:  # singular in floating point
            continue
    raise SolverError(f"the matrix less its eigenvalue {value:g} is singular, and so is what is close to it")


def _pairing(found, wanted) -> list[int]:
    """The places of `found` in the order of `wanted`."""
    free = list(range(len(found)))
    return [free.pop(int(np.argmin(abs(found[free] - value)))) for value in wanted]
