"""Initial states of the same model with other parameters: steady states, ground states and thermal states."""

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from scipy.sparse.linalg import eigsh

from hpcsim.methods import Context
from hpcsim.system import System, matrices, shown

KINDS = ("steady_state", "ground_state", "thermal")
LARGEST = {"ground_state": 2**20, "thermal": 2**12}  # basis states
DEGENERATE = 1e-9  # of the norm of H: levels closer than this are one

Found = Callable[[], np.ndarray]


def finder(kind: str, given: dict, system: System, exact, options, where: str) -> Found:
    """What computes ρ (D, D), or ψ (D,) of a ground state. Raises ValueError where it cannot be.

    given   : below the key `kind`
    exact   : the method liouvillian, which finds steady states
    options : of the method that starts from the state
    """
    if kind == "steady_state":
        return _steady_state(system, exact, options, where)
    if system.dimension > LARGEST[kind]:
        raise ValueError(f"{where}: the system has {system.dimension:.3g} states, and {LARGEST[kind]} are the limit")
    if kind == "ground_state":
        return lambda: ground_state(system, where)
    T = given.get("temperature")
    if not isinstance(T, (int, float)) or isinstance(T, bool) or not 0 < T < np.inf:
        raise ValueError(f"{where}.temperature = {shown(T)}: a positive number is needed, in the units of H")
    return lambda: thermal(system, float(T))


def _steady_state(system: System, exact, options, where: str) -> Found:
    given = {"save_state": True, "petsc_options": options.model_dump().get("petsc_options", {})}
    try:
        chosen = exact.Options(**given)
        if reason := exact.supports(system):
            raise ValueError(reason)
        record = exact.records(system, chosen)[0]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return lambda: exact.run(system, chosen, record, Context(MPI.COMM_SELF, (0, 0), lambda: False))["rho"]


def ground_state(system: System, where: str = "ground_state") -> np.ndarray:
    """ψ (D,) of the lowest energy, its largest component positive. Raises ValueError where it is degenerate."""
    H = matrices.hamiltonian(system)
    if H.shape[0] <= matrices.SMALL:
        energies, vectors = np.linalg.eigh(H.toarray())
    else:
        start = np.random.default_rng(0).standard_normal(H.shape[0])
        energies, vectors = eigsh(H.astype(H.dtype if np.iscomplexobj(H) else float), 2, which="SA", v0=start)
        order = np.argsort(energies)
        energies, vectors = energies[order], vectors[:, order]
    if len(energies) > 1 and energies[1] - energies[0] <= DEGENERATE * max(abs(H).max(), 1e-300):
        raise ValueError(f"{where}: the ground state is degenerate; add a small field, or take thermal")
    state = vectors[:, 0]
    largest = state[np.argmax(abs(state) > 0.999 * abs(state).max())]
    return state * (abs(largest) / largest)


def thermal(system: System, T: float) -> np.ndarray:
    """exp(-H/T) / Tr exp(-H/T): (D, D)."""
    energies, vectors = np.linalg.eigh(matrices.hamiltonian(system).toarray())
    weights = np.exp((energies[0] - energies) / T)
    return (vectors * (weights / weights.sum())) @ vectors.conj().T
