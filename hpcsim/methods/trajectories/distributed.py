"""One trajectory on several ranks: the levels of the first sites are the rank, its slice of ψ has all others.

A term of H_eff that moves those sites takes the slice of another rank, which is sent whole. The clock is that of
`clock.run`, with sums over the ranks in their order, so the jumps are those of a single rank, to rounding.
"""

import numpy as np
from mpi4py import MPI

from hpcsim.methods.trajectories import kernels, measurement
from hpcsim.methods.trajectories.clock import draw
from hpcsim.methods.trajectories.compile import (
    channels,
    generator,
    jump_channels,
    level_table,
    local_matrices,
    operator,
    strides,
)
from hpcsim.system import System, coherent_state


def team(system: System, comm) -> tuple[int, int]:
    """(sites, ranks): as many first sites as the ranks have levels for; the slices keep three sites or one."""
    sites, ranks, spare = 0, 1, 3 if system.sites > 3 else 1
    while sites < system.sites - spare and ranks * system.levels[sites] <= comm.size:
        ranks *= int(system.levels[sites])
        sites += 1
    return sites, ranks


def run(sums, jumps, initial, first, samples, slots, tolerance, system: System, plan, key, comm) -> None:
    """As `clock.run`, on all ranks of comm; ranks beyond those of `team` wait.

    initial : (sites, 2) angles of the coherent state
    """
    sites, ranks = team(system, comm)
    mine = comm.Split(0 if comm.rank < ranks else 1, comm.rank)
    if comm.rank < ranks:
        vector = Slice(system, sites, mine)
        for t in range(len(jumps)):
            jumps[t] = _trajectory(sums[t], vector, initial, first + t, samples, slots, tolerance, plan, key)
    mine.Free()
    comm.Bcast(sums)
    comm.Bcast(jumps)


class Slice:
    """This rank's part of the state vector, and what acts on the whole."""

    def __init__(self, system: System, sites: int, comm):
        self.system, self.sites, self.comm = system, sites, comm
        self.table = level_table(system.levels[:sites])  # levels of the first sites, by rank
        self.level, self.levels = self.table[comm.rank], system.levels[sites:]
        self.dimension, self.stride = int(np.prod(self.levels)), strides(system.levels)
        local = local_matrices(system)
        blocks = [self._block(local, source) for source in range(comm.size)]
        self.generators = [generator(self.levels, block) if block else None for block in blocks]
        self.here, self.channels = self.generators[comm.rank], channels(system)
        self.scale = min(comm.allgather(self.here.scale))
        # where H_eff takes a slice from one rank to another, but not back, only one of them sends
        needed = comm.allgather([each is not None for each in self.generators])
        self.sends = [row[comm.rank] for row in needed]
        self.products = [
            [
                (weight, [(operator(name, int(system.levels[site])), site) for name, site in factors])
                for weight, factors in parts
            ]
            for _, parts in jump_channels(system)
        ]

    def _block(self, local, source: int) -> dict:
        """Matrices on the sites of a slice that take the slice of rank `source` to this one."""
        found = {}
        for sites, matrix in local.items():
            outer = [site for site in sites if site < self.sites]
            others = np.setdiff1d(np.arange(self.sites), outer)
            if np.any(self.level[others] != self.table[source, others]):
                continue
            shape = self.system.levels[list(sites)]
            where = (
                *self.level[outer],
                *[slice(None)] * (len(sites) - len(outer)),
                *self.table[source, outer],
                *[slice(None)] * (len(sites) - len(outer)),
            )
            part = np.atleast_2d(matrix.reshape(*shape, *shape)[where])
            inner = tuple(site - self.sites for site in sites[len(outer) :])
            size = int(np.prod(self.levels[list(inner)]))
            if not inner:
                inner, part = (0,), part * np.eye(self.levels[0])
            else:
                part = part.reshape(size, size)
            if np.any(part):
                found[inner] = found.get(inner, 0) + part
        return found

    def total(self, *values):
        """Sums over the ranks, in their order."""
        return np.sum(self.comm.allgather(np.array(values, float)), axis=0)

    def derivative(self, y, x, factor, received, scratch):
        """y = factor (-i H_eff) x."""
        kernels.derivative(y, x, factor, self.here)
        size, rank = self.comm.size, self.comm.rank
        for step in range(1, size):
            to, source = (rank + step) % size, (rank - step) % size
            self.comm.Sendrecv(
                x,
                to if self.sends[to] else MPI.PROC_NULL,
                recvbuf=received,
                source=source if self.generators[source] else MPI.PROC_NULL,
            )
            if self.generators[source]:
                kernels.derivative(scratch, received, factor, self.generators[source])
                y += scratch

    def act(self, x, matrix, site):
        """The operator `matrix` of one of the first sites on the slices: a new array."""
        level, size = self.level[site], len(matrix)
        result, received = matrix[level, level] * x, np.empty_like(x)
        for step in range(1, size):
            to, source = (level + step) % size, (level - step) % size
            self.comm.Sendrecv(x, self._rank(site, to), recvbuf=received, source=self._rank(site, source))
            result += matrix[level, source] * received
        return result

    def _rank(self, site, level) -> int:
        other = self.level.copy()
        other[site] = level
        return int(np.flatnonzero(np.all(self.table == other, axis=1))[0])

    def jump(self, psi, random):
        """As `kernels.jump`: the state after the jump, normalised."""
        weight = np.zeros(len(self.products))
        for c, products in enumerate(self.products):
            ((_, factors), *more) = products
            if not more and len(factors) == 1 and factors[0][1] >= self.sites:
                factor = self.channels.factors[self.channels.parts[c]]
                weight[c] = kernels.weight_of(psi, self.channels, factor)
            else:
                weight[c] = np.vdot(after := self._channel(psi, c), after).real
        weight = self.channels.rate * self.total(*weight)
        after = self._channel(psi, kernels.choose(weight, random))
        return after / np.sqrt(self.total(np.vdot(after, after).real)[0])

    def _channel(self, psi, c):
        after = np.zeros_like(psi)
        for part, (weight, factors) in enumerate(self.products[c], self.channels.parts[c]):
            if all(site >= self.sites for _, site in factors):
                kernels.act(after, psi, self.channels, part)
                continue
            product = psi
            for matrix, site in reversed(factors):
                product = self._on(product, matrix, site)
            after += weight * product
        return after

    def measure(self, total, state, scratch, plan):
        """As `measurement.measure`, summed over the ranks."""
        found = np.zeros_like(total)
        turn = (-1j) ** int(self.level.sum())
        for axis in (2, 0, 1):
            scratch[:] = state
            measurement.rotate(scratch, axis, plan, self.sites)
            if axis == 1:
                scratch[0], scratch[1] = (
                    turn.real * scratch[0] - turn.imag * scratch[1],
                    turn.real * scratch[1] + turn.imag * scratch[0],
                )
            for site in range(self.sites) if axis < 2 else ():
                scratch[:] = self.act(scratch, plan.rotation[site, : plan.levels[site], : plan.levels[site]], site)
            measurement.moments(found, scratch, axis, plan, plan.m[np.arange(self.sites), self.level])
        if len(plan.product) > 1 or plan.total >= 0 or plan.cut:
            psi = np.empty(self.dimension, complex)
            kernels.store(psi, state)
        for k in range(len(plan.product) - 1):
            after = psi
            for f in range(plan.product[k + 1] - 1, plan.product[k] - 1, -1):
                after = self._on(after, plan.matrix[f], plan.site[f])
            value = np.vdot(psi, after)
            found[plan.place + 2 * k : plan.place + 2 * k + 2] += value.real, value.imag
        if plan.total >= 0:
            sites = range(self.system.sites)
            turned = [sum(self._on(psi, plan.operator[a, i], i) for i in sites) for a in range(3)]
            for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))):
                found[plan.total + k] += np.vdot(turned[a], turned[b]).real
        total += self.total(*found)
        if plan.cut:
            # the ranks have different states of the first half, or the cut would be at most three sites wide
            matrix = psi.reshape(-1, plan.cut)
            total[-1] += measurement.entropy(self.comm.allreduce(matrix.T @ matrix.conj()))

    def _on(self, psi, matrix, site):
        """A one-site operator of any site on the slices: a new array."""
        levels = self.system.levels[site]
        if site < self.sites:
            return self.act(psi, matrix[:levels, :levels], site)
        return measurement.apply(psi, matrix[:levels, :levels], levels, self.stride[site])


def _trajectory(sums, vector: Slice, initial, number, samples, slots, tolerance, plan, key) -> int:
    """One trajectory from its start to the last sample; returns the number of its jumps."""
    series, extra = kernels.empty_states(kernels.ORDER + 1, vector.here), kernels.empty_states(3, vector.here)
    state, received, scratch = extra
    levels, cutoffs, outer = vector.system.levels, vector.system.cutoffs, vector.sites
    psi = (
        coherent_state(vector.levels, initial[outer:], cutoffs[outer:])
        * coherent_state(levels[:outer], initial[:outer], cutoffs[:outer])[vector.comm.rank]
    )
    kernels.load(series[0], psi)
    words, end, jumps, time, sample = np.empty((4, 1), np.uint64), samples[-1], 0, 0.0, 0
    threshold, choice = draw(words, number, 0, key)
    while sample < len(samples):
        for k in range(1, kernels.ORDER + 1):
            vector.derivative(series[k], series[k - 1], vector.scale / k, received, scratch)
        x = kernels.step_length(*vector.total(kernels.square(series[-1]), kernels.square(series[-2])), tolerance)
        last = (end - time) / vector.scale <= x
        if last:
            x = (end - time) / vector.scale
        x, norm, jumped = _place_jump(vector, state, series, x, threshold, tolerance)
        later = end if last and not jumped else time + x * vector.scale
        while sample < len(samples) and samples[sample] <= later:
            size, _ = vector.total(*kernels.sum_series(received, series, (samples[sample] - time) / vector.scale))
            kernels.normalise(received, size)
            vector.measure(sums[slots[sample]], received, scratch, plan)
            sample += 1
        time = later
        if jumped:
            kernels.store(psi, state)
            psi = vector.jump(psi, choice)
            kernels.load(series[0], psi)
            jumps += 1
            threshold, choice = draw(words, number, jumps, key)
        else:
            kernels.normalise(state, norm)
            threshold /= norm
            series[0] = state
    return jumps


def _place_jump(vector: Slice, state, series, end, threshold, tolerance):
    """As `kernels.place_jump`."""
    p = np.empty(5)
    kernels.squared_norm(p, series)
    low, high, x = 0.0, np.inf, kernels.guess(vector.total(*p), end, threshold)
    while True:
        norm, slope = vector.total(*kernels.sum_series(state, series, x))
        if x == end and norm > threshold:
            return x, norm, False
        if abs(norm - threshold) <= tolerance * threshold or 0 <= high - low <= 1e-14 * x:
            return x, norm, True
        low, high, x = kernels.closer(low, high, x, end, norm, slope, threshold)
