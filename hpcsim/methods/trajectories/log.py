"""What is kept of trajectories besides what is measured: states, counts of jumps, and times between them."""

from typing import NamedTuple

import numpy as np

from hpcsim.compiled import INLINE, njit
from hpcsim.methods.trajectories import kernels


class Log(NamedTuple):
    """Records of every trajectory.

    states  : (trajectories, samples, D) complex, the states at the samples; without samples where none is kept
    weight  : (currents, channels) with which a jump of a channel counts
    counts  : (trajectories, samples, currents) what was counted until every sample
    edges   : (bins + 1,) rising, of waiting times between a counted jump and the next one of the same current
    waits   : (trajectories, currents, bins) numbers of waiting times, from 0
    begun   : (trajectories, currents) how many of them began, from 0: those with a jump from `window[0]` to `window[1]`
    running : (2, currents) scratch: what was counted so far, and the time of the last counted jump
    """

    states: np.ndarray
    weight: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    waits: np.ndarray
    begun: np.ndarray
    running: np.ndarray
    window: np.ndarray


def of_states(trajectories: int, samples: int, dimension: int) -> Log:
    """An empty log of states, and of nothing else; none at all where there are no samples."""
    return _empty(np.empty((trajectories, samples, dimension), complex), np.zeros((0, 0)), 0, (), (0.0, 0.0))


def of_jumps(trajectories: int, samples: int, weight: np.ndarray, edges, window: tuple[float, float]) -> Log:
    """An empty log of currents, with the weights (currents, channels) and the edges of the bins of waiting times."""
    return _empty(np.empty((trajectories, 0, 0), complex), weight, samples, edges, window)


def _empty(states, weight, samples: int, edges, window) -> Log:
    each, bins = (len(states), len(weight)), max(len(edges) - 1, 0)
    return Log(
        states,
        weight,
        np.zeros((len(states), samples, len(weight))),
        np.array(edges, float),
        np.zeros((*each, bins)),
        np.zeros(each),
        np.zeros((2, len(weight))),
        np.array(window, float),
    )


@njit(**INLINE)
def begin(log):
    """A trajectory starts: nothing has been counted."""
    for c in range(len(log.weight)):
        log.running[0, c], log.running[1, c] = 0.0, -np.inf


@njit(**INLINE)
def note_sample(log, trajectory, sample, state):
    """Keep what there is at a sample. state : (2, ...), as in `kernels`"""
    if log.states.shape[1]:
        kernels.store(log.states[trajectory, sample], state)
    if log.counts.shape[1]:
        for c in range(len(log.weight)):
            log.counts[trajectory, sample, c] = log.running[0, c]


@njit(**INLINE)
def note_jump(log, trajectory, channel, time):
    """Count a jump, and the waiting time that it ends."""
    first, last = log.window[0], log.window[1]
    for c in range(len(log.weight)):
        if log.weight[c, channel] == 0:
            continue
        log.running[0, c] += log.weight[c, channel]
        before, log.running[1, c] = log.running[1, c], time
        if len(log.edges) == 0:
            continue
        if first <= before <= last and log.edges[0] <= time - before < log.edges[-1]:
            log.waits[trajectory, c, np.searchsorted(log.edges, time - before, side="right") - 1] += 1
        if first <= time <= last:
            log.begun[trajectory, c] += 1
