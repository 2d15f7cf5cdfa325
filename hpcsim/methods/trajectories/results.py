"""What a run measures, from the observables asked for: the tables of the kernel and the results made of its numbers."""

from dataclasses import dataclass

import numpy as np

from hpcsim import observables
from hpcsim.ensemble.linear import Linear, by_site, refuse_whole
from hpcsim.methods.trajectories.compile import operator, strides
from hpcsim.methods.trajectories.measurement import Plan
from hpcsim.observables import Dim, Output
from hpcsim.observables.matrices import one_site_product
from hpcsim.system import System

OWN = "entanglement_entropy"
Items = observables.items(OWN)
AXES = {"Sx": 0, "Sy": 1, "Sz": 2, "n": 2}


@dataclass(frozen=True)
class Measured:
    """tables : for the kernel; plan : of the observables; linear : from the kernel's numbers to the plan's Means"""

    tables: Plan
    plan: observables.Plan
    linear: Linear
    entropy: bool

    @property
    def outputs(self) -> tuple[Output, ...]:
        text = "entropy of the first half of the sites in a trajectory's pure state (depends on the unravelling)"
        own = (Output(OWN, self.plan.time, "nats", text, reduce="mean"),) * self.entropy
        return (*self.plan.outputs, Output("jumps", (), "1", "jumps of a trajectory", reduce="mean"), *own)

    def results(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Stored outputs but `jumps`, [..., slot], from the averages of the kernel's numbers, (slots, size)."""
        found = self.linear.averages(values)
        if "J_J" in self.plan.means:
            found["J_J"] = values[:, self.tables.total : self.tables.total + 6].T
        return self.plan.finish(found) | ({OWN: values[:, -1]} if self.entropy else {})


def measured(system: System, items, time: tuple[Dim, ...] = (), each_site: bool = False) -> Measured:
    """each_site: as `Setting` has it. Raises ValueError if an observable does not fit the system."""
    entropy = OWN in items
    if entropy and system.sites < 2:
        raise ValueError(f"method.observables: {OWN}: needs at least two sites")
    wanted, setting = (*observables.DEFAULT, *items), observables.Setting(each_site=each_site)
    plan = observables.plan(system, wanted, time, ensemble=True, own=(OWN,), setting=setting)
    refuse_whole(plan)
    linear = Linear((mean for mean in plan.means.values() if mean.name != "J_J"), _expand)
    tables = _tables(system, linear, total="J_J" in plan.means, entropy=entropy)
    return Measured(tables, plan, linear, entropy)


def _expand(factors):
    """Moments of a site and of a pair by number, and any other product."""
    parts = by_site(factors)
    axes = [AXES.get(names[0]) for names in parts.values() if len(set(names)) == 1]
    counts = [len(names) for names in parts.values()]
    if not parts:
        return [(None, 1)]
    if len(axes) == len(parts) and None not in axes:
        if len(parts) == 1 and counts[0] <= 2:
            return [(("moment", axes[0] + 3 * (counts[0] - 1), *parts), 1)]
        if len(parts) == 2 and counts == [1, 1] and axes[0] == axes[1]:
            return [(("pair", axes[0], *parts), 1)]
    product = tuple(parts.items())
    return [(("real", product), 1), (("imaginary", product), 1j)]


def _tables(system: System, linear: Linear, total: bool, entropy: bool) -> Plan:
    levels, n = system.levels.astype(np.int64), system.sites
    most = levels.max()
    m, rotation, operators = np.zeros((n, most)), np.zeros((n, most, most)), np.zeros((3, n, most, most), complex)
    for i, (d, S) in enumerate(zip(levels, system.spins)):
        if system.cutoffs[i]:  # diagonal in n, and never rotated
            m[i, :d], rotation[i, :d, :d] = np.arange(d - 1, -1, -1), np.eye(d)
            continue
        m[i, :d] = S - np.arange(d)
        for axis, name in enumerate(("Sx", "Sy", "Sz")):
            operators[axis, i, :d, :d] = operator(name, int(d))
        _, vectors = np.linalg.eigh(operators[0, i, :d, :d].real)
        rotation[i, :d, :d] = vectors[:, ::-1].T  # eigh: rising eigenvalues
    turn = np.zeros(1, np.uint8)
    for d in levels:
        turn = np.add.outer(turn, np.arange(d, dtype=np.uint8)).ravel() % 4
    kind = np.full((n, n), -1, np.int64)
    pairs = dict.fromkeys(key[2:] for key in linear.keys if key[0] == "pair")
    for number, (i, j) in enumerate(pairs):
        kind[i, j] = kind[j, i] = number
    products = tuple(key[1] for key in linear.keys if key[0] == "real")
    matrix, site, first = _factors(system, products, most)
    place = 6 * n + 3 * len(pairs)
    size = place + 2 * len(products)
    numbers = {("moment", q, i): q * n + i for q in range(6) for i in range(n)}
    numbers |= {("pair", a, i, j): 6 * n + a * len(pairs) + kind[i, j] for i, j in pairs for a in range(3)}
    for k, product in enumerate(products):
        numbers |= {("real", product): place + 2 * k, ("imaginary", product): place + 2 * k + 1}
    whole = size + 6 * total + entropy
    linear.number(numbers, whole)
    cut = int(np.prod(levels[n // 2 :])) if entropy else 0
    return Plan(
        levels,
        strides(levels),
        m,
        rotation,
        turn,
        kind,
        len(pairs),
        operators,
        matrix,
        site,
        first,
        place,
        size if total else -1,
        cut,
        whole,
    )


def _factors(system: System, products, most: int):
    """matrix, site and product of `Plan`."""
    factors = [factor for product in products for factor in product]
    matrix = np.zeros((len(factors), most, most), complex)
    for k, (site, names) in enumerate(factors):
        d = system.levels[site]
        matrix[k, :d, :d] = one_site_product(system, names, site)
    first = np.cumsum([0, *(len(product) for product in products)])
    return matrix, np.array([site for site, _ in factors], np.int64), first.astype(np.int64)


def numbers(system: System, items) -> int:
    """Roughly how many numbers are added up, for the cost of a record."""
    names, n = [observables.name_of(item) for item in items], system.sites
    pairs = n * (n - 1) // 2 if any(name in ("correlation", "structure_factor") for name in names) else 0
    return 6 * n + 3 * pairs + 12 * len(names)
