"""The compiled tables of a system with the scratch space of its trajectories: what `clock.run` is called with."""

import functools

import numpy as np

from hpcsim.methods import Context
from hpcsim.methods.trajectories import clock, in_time
from hpcsim.methods.trajectories.compile import channels, flips, local_matrices
from hpcsim.methods.trajectories.diffusion import Diffuser
from hpcsim.methods.trajectories.log import Log, of_states
from hpcsim.methods.trajectories.measurement import Plan
from hpcsim.system import System, starts


class Walker:
    """Runs trajectories of one system.

    level : (sites,) of the initial state, where it is a product of levels; else None
    """

    def __init__(self, system: System, level: np.ndarray | None = None):
        local = local_matrices(system)
        parity, changes = of_parity(system, local, level)
        for part in system.drive.systems if system.drive else ():
            if flips(part, local_matrices(part)) is None:
                parity, changes = -1, np.zeros(1, np.int64)
        generators, self.moving = in_time.compile_moving(system, local, parity)
        self.tables = clock.Tables(generators, parity, changes, channels(system))
        self.dimension, self._parts = round(system.dimension), len(system.drive.parts) if system.drive else 0

    @functools.cached_property
    def _scratch(self):
        return clock.scratch_of(self.tables, self.dimension, self._parts)

    def run(self, psi, first: int, samples, slots, tolerance: float, plan: Plan, key, kept: Log, sums) -> np.ndarray:
        """(trajectories,) numbers of jumps, see `clock.run`; psi : (trajectories or 1, D)"""
        jumps = np.zeros(len(sums), np.int64)
        tables = self.tables, self.moving, plan, key, self._scratch
        if len(sums):
            clock.run(sums, jumps, psi, first, samples, slots, tolerance, *tables, kept)
        return jumps

    def states(self, psi: np.ndarray, first: int, samples, tolerance: float, plan: Plan, key) -> np.ndarray:
        """(trajectories, samples, D) the states at rising times; nothing is measured. psi : (trajectories, D)"""
        kept, slots = of_states(len(psi), len(samples), self.dimension), np.zeros(len(samples), np.int64)
        self.run(psi, first, samples, slots, tolerance, plan, key, kept, np.zeros((len(psi), 1, 0)))
        return kept.states


def walker(system: System, options, context: Context) -> Walker | Diffuser:
    """What runs the trajectories of a system with these options."""
    if options.unravelling != "jumps":
        key = "trajectories", "diffusion", system.key, options.unravelling, options.phase, options.step
        heterodyne = options.unravelling == "heterodyne"
        return context.cache.get(key, lambda: Diffuser(system, heterodyne, options.phase, options.step))
    key, initial = ("trajectories", system.key, repr(options.initial)), options.initial
    return context.cache.get(key, lambda: Walker(system, starts.known_levels(system, initial)))


def of_parity(system: System, local, level: np.ndarray | None) -> tuple[int, np.ndarray]:
    """Parity of the sum of all levels, if the initial state and all later ones have one, else -1; and `flips`.

    level : (sites,) levels of the initial state, or None
    """
    changes = flips(system, local)
    if changes is None or level is None:
        return -1, np.zeros(1, np.int64)
    return int(np.sum(level) % 2), changes
