"""Many steps of classical spins: one kernel for each way of ordering what is done.

Spinors z, and scratch p, are None where there are none, and so is `moving` where nothing depends on time: numba then
compiles the branches that remain. Tables are `stacked`: those of a step and of half a step or, where they depend on
time, of every sweep's own interval.
"""

import numpy as np

from hpcsim.compiled import INLINE, njit
from hpcsim.ensemble.streams import fill_three_point
from hpcsim.methods.phase_space.compile import Tables, stacked
from hpcsim.methods.phase_space.in_time import Moving, set_interval
from hpcsim.methods.phase_space.kernels import (
    EO,
    EULER_MARUYAMA,
    FIELD,
    KERNEL,
    MIDPOINT,
    SIB,
    SPINOR,
    SPINOR_END,
    SUM,
    add_own,
    collect,
    diffuse,
    turn_all,
    turn_halves,
)


@njit(**KERNEL)
def advance_halves(s, z, p, begin, steps, integrator, ordering, tables, moving, dt, first, key):
    """Steps of eo, see `Spins`. Without spinors the sweeps of all steps follow each other."""
    rows, words = np.zeros((SUM + 3, s.shape[2])), np.empty((4, s.shape[2]), np.uint64)
    normals, rounds, together = np.empty((4, s.shape[2])), steps, 1
    if steps == 0:
        return
    if z is None:
        rounds, together = 1, steps
    for n in range(rounds + 1):
        step, time = begin + np.uint64(n), (begin + n) * dt
        if z is not None:
            _between(s, z, ordering, tables, moving, normals, words, n, rounds, step, time, dt, first, key)
        if n == rounds:
            break
        last = 2 * together
        groups = 1 if moving is None else last + 1
        for k in range(groups):
            if moving is not None:
                duration = dt if 0 < k < last else dt / 2
                set_interval(moving, time + max(0, k - 1) * dt / 2, duration, True)
            end = last + 1 if moving is None else k + 1
            turn_halves(s, z, p, rows, words, tables, k, end, last, step, first, key)


@njit(**KERNEL)
def advance_together(s, z, p, begin, steps, integrator, ordering, tables, moving, dt, first, key):
    """Steps of sib, see `Spins`."""
    rows, words = np.zeros((SUM + 3, s.shape[2])), np.empty((4, s.shape[2]), np.uint64)
    normals = np.empty((4, s.shape[2]))
    if steps == 0:
        return
    for n in range(steps + 1):
        step, time = begin + np.uint64(n), (begin + n) * dt
        if z is not None:
            _between(s, z, ordering, tables, moving, normals, words, n, steps, step, time, dt, first, key)
        if n == steps:
            break
        if moving is not None:
            set_interval(moving, time, dt, True)
        turn_all(s, z, p, rows, words, tables, step, first, key)


@njit(**KERNEL)
def advance_explicit(s, z, p, begin, steps, integrator, ordering, tables, moving, dt, first, key):
    """Steps of euler_maruyama and midpoint, see `Spins`: the field at s takes s to p, that at p takes s on."""
    rows, words = np.zeros((SUM + 3, s.shape[2])), np.empty((4, s.shape[2]), np.uint64)
    for n in range(steps):
        step = begin + np.uint64(n)
        if moving is not None:
            set_interval(moving, (begin + n) * dt, dt, False)
        for stage in range(1 if integrator == EULER_MARUYAMA else 2):
            for block in range(len(tables.begin) - 1):
                fill_three_point(rows, words, tables.strength[0, block], step, np.uint64(block), first, FIELD, key)
                for place in range(tables.begin[block], tables.begin[block + 1]):
                    i = tables.order[place]
                    at = p if stage else s
                    collect(rows, at, i, tables, 0)
                    add_own(rows, at, i, tables, 0)
                    if integrator == EULER_MARUYAMA:
                        _euler(p, s, rows, i, tables)
                    else:
                        _explicit(s if stage else p, s, at, rows, i, 1.0 + stage)
        if integrator == EULER_MARUYAMA:
            for i in range(s.shape[0]):
                for component in range(3):
                    for t in range(s.shape[2]):  # s[:] = p would take numba seconds to compile
                        s[i, component, t] = p[i, component, t]


@njit(**INLINE)
def _between(s, z, ordering, tables, moving, normals, words, n, steps, step, time, dt, first, key):
    """The spinors' noise between steps n - 1 and n of `steps`: the halves of both, or the one there is at the ends."""
    duration, purpose = dt / 2 if n == 0 or n == steps else dt, SPINOR
    if n == steps:
        step, purpose = step - np.uint64(1), SPINOR_END
    if moving is not None:
        set_interval(moving, time - (dt / 2 if n else 0.0), duration, True)
    diffuse(s, z, ordering, tables, normals, words, duration, step, first, purpose, key)


@njit(**INLINE)
def _euler(p, s, rows, i, tables):
    """p_i = s_i + 2 w × s_i + Ito's drift, which for each component is -(power of the other two noises)/2."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        p[i, 0, t] = x + 2 * (b * z - c * y) - tables.ito[0, i, 0] * x
        p[i, 1, t] = y + 2 * (c * x - a * z) - tables.ito[0, i, 1] * y
        p[i, 2, t] = z + 2 * (a * y - b * x) - tables.ito[0, i, 2] * z


@njit(**INLINE)
def _explicit(to, s, p, rows, i, factor):
    """to_i = s_i + factor w × p_i."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = p[i, 0, t], p[i, 1, t], p[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        to[i, 0, t] = s[i, 0, t] + factor * (b * z - c * y)
        to[i, 1, t] = s[i, 1, t] + factor * (c * x - a * z)
        to[i, 2, t] = s[i, 2, t] + factor * (a * y - b * x)


STEPS = {EO: advance_halves, SIB: advance_together, EULER_MARUYAMA: advance_explicit, MIDPOINT: advance_explicit}


class Spins:
    """The spins of some trajectories and how they go on: advance(begin, steps), spins() -> (sites, 3, trajectories).

    sib : semi-implicit step of all sites together (huber2021 uses the like); any graph
    eo  : the sites of a bipartite graph in two halves, each in the frozen field of the other (Strang); the
          half steps of the first half that meet are done as one
    Both turn spins by Cayley rotations, which keep |s|. Spinors take their own noise in half steps between,
    of which those that meet are done as one.

    euler_maruyama, midpoint : explicit, without spinors, for reference: they let |s| grow
    """

    def __init__(self, spins, spinors, tables: Tables, moving: Moving | None, integrator, ordering, dt, first, key):
        """Take them from the start.

        spins   : (sites, 3, trajectories), where they start
        spinors : (sites, 4, trajectories), or None where the spins move by themselves
        tables, moving : of the system; None where nothing depends on time
        first, key : number of the first trajectory, and key of the random numbers
        """
        rotating = integrator in (SIB, EO)
        tables = stacked([tables] if moving else [tables.over(step, rotating) for step in (dt, dt / 2)])
        self._steps, self._spins = STEPS[integrator], spins
        scratch = None if integrator == EO and spinors is None else np.empty_like(spins)
        self._state = spins, spinors, scratch
        self._how = integrator, float(ordering), tables, moving, dt, first, key

    def advance(self, begin: int, steps: int):
        """Take `steps` steps, of which `begin` were taken before: it fixes the random numbers."""
        self._steps(*self._state, np.uint64(begin), steps, *self._how)

    def spins(self) -> np.ndarray:
        return self._spins
