"""What a run measures, from the observables asked for: what to add up, and the results made of it."""

import functools
from dataclasses import dataclass

import numpy as np

from hpcsim import observables
from hpcsim.ensemble.linear import Linear, refuse_whole
from hpcsim.methods.phase_space.observables import BINS, OWN, QUICK, Histogram, Moments, Ordering, Symbols, expand
from hpcsim.observables import Dim, Output
from hpcsim.system import System, orbits

Items = observables.items(*OWN)


@dataclass(frozen=True)
class Measured:
    """parts : what is added up, `Moments` first; plan : of the observables"""

    parts: tuple
    plan: observables.Plan

    @functools.cached_property
    def outputs(self) -> tuple[Output, ...]:
        own = [output for part in self.parts if hasattr(part, "outputs") for output in part.outputs(self.plan.time)]
        return (*self.plan.outputs, *own)

    def results(self, sums, counts) -> dict[str, np.ndarray]:
        """Averages over trajectories [..., slot] of all stored outputs, from sums [slot, *shape, trajectory]."""
        averages = [x.mean(axis=-1) / counts.reshape(-1, *(1,) * (x.ndim - 2)) for x in sums]
        moments, values = averages[0] / self.parts[0].sites, {}
        for part, average in zip(self.parts, averages):
            values |= {name: np.moveaxis(x, 0, -1) for name, x in part.means(average, moments).items()}
        own = {name: x for name, x in values.items() if name not in self.plan.means}
        return self.plan.finish(values) | own


def measured(
    system: System, items, time: tuple[Dim, ...], conserving: bool, ordering: int, each_site=False, discrete=False
) -> Measured:
    """Raises ValueError if an observable does not fit the system, or is not known in phase space.

    each_site : as `Setting` has it;  discrete : as `Ordering` has it
    """
    wanted, setting = (*observables.DEFAULT, *items), observables.Setting(each_site=each_site)
    plan = observables.plan(system, wanted, time, ensemble=True, own=OWN, setting=setting)
    label = np.arange(system.sites) if each_site else orbits(system)
    refuse_whole(plan)
    order = Ordering(system, conserving, ordering, discrete)
    parts, known = [Moments(system, order)], {*Moments.names}
    for quick in QUICK:
        if plan.means.keys() & set(quick.names):
            parts.append(quick(system, order))
            known |= {*quick.names}
    parts += [Histogram(system, name) for name in OWN if name in items]
    linear = Linear((mean for name, mean in plan.means.items() if name not in known), expand(label.tolist()))
    return Measured((*parts, Symbols(label, order, linear)), plan)


def numbers(system: System, items) -> int:
    """Roughly how many numbers are added up, for the cost of a record."""
    lattices, grid = len(system.sublattices), 3 * (system.sites // 2 + 2)
    found = 17 * lattices
    for item in items:
        name = observables.name_of(item)
        found += lattices * (grid if name in ("correlation", "structure_factor") else BINS if name in OWN else 9)
    return found
