"""What is measured on a density matrix that is given by its components in symmetry sectors."""

import numpy as np

from hpcsim import observables, solvers
from hpcsim.methods.liouvillian.operators import share_of
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.observables import Dim, Plan
from hpcsim.observables.entropies import von_neumann
from hpcsim.observables.matrices import by_site, operator
from hpcsim.system import System
from hpcsim.system.operators import levels_of

Items = observables.items()
FEW = 1000  # unknowns up to which a functional for each diagonal operator is faster than going through P
LARGEST = 2**26  # elements of ρ at all times of an evolution: 1 GB


def plan(system: System, items, time: tuple[Dim, ...], each_site: bool = False) -> Plan:
    """What to measure. Raises ValueError, naming the observable and the reason, where one does not fit.

    each_site : sites that are equal in the system may differ in the state
    """
    setting = observables.Setting(each_site=each_site)
    found = observables.plan(system, (*observables.DEFAULT, *items), time, setting=setting)
    whole = [mean.name for mean in found.means.values() if mean.build is None]
    if time and whole and (size := system.dimension**2 * len(time[0].values)) > LARGEST:
        raise ValueError(
            f"method.observables: {whole[0]}: it needs all of ρ at all times, {size:.1e} elements, and {LARGEST:.1e} "
            "are the limit; take fewer times, or ask for it of some sites, as {name: of_some, " + whole[0] + ": [0, 1]}"
        )
    return found


class Compiled:
    """The expectation values of a Plan as Hermitian operators: ⟨O⟩ = Tr Aρ + i Tr Bρ with A, B Hermitian.

    diagonal  : [(name, index, [(weight, {site: diagonal})])], of operators that are all diagonal: the probabilities
                say everything
    operators : [(name, index, 1 or i, matrix (D, D))], in the product basis
    """

    def __init__(self, system: System, found: Plan, probabilities: bool):
        self.system, self.diagonal, self.operators = system, [], []
        self._empty = {
            name: np.full(mean.shape, np.nan, mean.output.dtype) for name, mean in found.means.items() if mean.build
        }
        for name, mean in found.means.items():
            for index, element in np.ndenumerate(mean.elements) if mean.build else ():
                if element is None:
                    continue
                if probabilities and all(map(_is_diagonal, (name for part in element for name in part.operators))):
                    self.diagonal.append((name, index, _diagonals(system, element)))
                    continue
                matrix = operator(system, element)
                adjoint = matrix.conj().T.tocsr()
                self.operators.append((name, index, 1, (matrix + adjoint) / 2))
                if mean.output.dtype == "c16":
                    self.operators.append((name, index, 1j, (matrix - adjoint) / 2j))

    def values(self, traces: np.ndarray, probability: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """{name: array (*dims, *time)} from Tr Aρ of `operators`, (operators, *time), and P (D,)."""
        found, time = {name: empty.copy() for name, empty in self._empty.items()}, traces.shape[1:]
        if time:
            found = {name: np.full(empty.shape + time, np.nan, empty.dtype) for name, empty in found.items()}
        for (name, index, unit, _), trace in zip(self.operators, traces):
            found[name][index] = trace if unit == 1 else found[name][index] + unit * trace
        for name, index, terms in self.diagonal:
            found[name][index] = _average(self.system, terms, probability)
        return found


def _is_diagonal(name: str) -> bool:
    return name in ("Sz", "n") or len(set(levels_of(name) or (0, 1))) == 1


def _diagonals(system: System, element) -> list[tuple[complex, dict[int, np.ndarray]]]:
    """(weight, {site: diagonal of its operator}) of every term of an element."""
    return [
        (weight, {site: np.diag(matrix) for site, matrix in by_site(system, factors).items()})
        for products in element
        for weight, factors in products
    ]


def _average(system: System, terms, probability) -> float:
    """Σ_s P_s Π_i O_i(s_i) of diagonal operators, as from `_diagonals`."""
    total = 0.0
    for weight, diagonals in terms:
        rest = probability.reshape(system.levels)
        for site in reversed(range(system.sites)):
            rest = rest @ diagonals[site] if site in diagonals else rest.sum(axis=-1)
        total += weight * rest
    return total


def steady(system: System, found: Plan, items: str, sector: Sector, local: np.ndarray, comm) -> dict[str, np.ndarray]:
    """Outputs of a steady state from this rank's components of its sector. Collective over comm.

    items : what tells this plan from others of the system
    """
    rows = solvers.row_range(comm, sector.size)

    def functionals():
        compiled = Compiled(system, found, probabilities=sector.size > FEW)
        vectors = [sector.functional(matrix, *rows).real for *_, matrix in compiled.operators]
        return compiled, np.array(vectors).reshape(-1, len(local))

    def summed(part):
        return comm.allreduce(part) if comm.size > 1 else part

    key = "liouvillian", "functionals", items, sector.name, rows
    compiled, vectors = share_of(system)(key, functionals)
    probability = summed(sector.diagonal(local, *rows)) if compiled.diagonal else None
    values = compiled.values(summed(vectors @ local), probability)
    if "purity" in found.means:
        values["purity"] = summed(sector.weight[slice(*rows)] @ local**2)
    if "entropy" in found.means:
        values["entropy"] = entropy(sector, np.concatenate(comm.allgather(local))) / system.sites
    return found.finish(values)


def blocks(sector: Sector, x: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """(rows, columns, elements) of all blocks of ρ, from all components x of a sector; basis states by charge."""
    layout, k = sector.layout, sector.layout.k
    parts, found = np.split(sector.elements(x), layout.pairs[1:-1]), []
    for b, part in enumerate(parts):
        rows, columns = (slice(layout.first[i], layout.first[i + 1]) for i in (b + k, b))
        found.append((rows, columns, part.reshape(rows.stop - rows.start, columns.stop - columns.start)))
    return found


def entropy(sector: Sector, x: np.ndarray) -> float:
    """-Tr(ρ ln ρ) of a state with all its components x, block by block of equal charge, in nats."""
    return float(von_neumann(np.concatenate([np.linalg.eigvalsh(block) for *_, block in blocks(sector, x)])))
