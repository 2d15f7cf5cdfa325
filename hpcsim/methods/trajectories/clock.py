"""The loop over trajectories.

A trajectory without jumps shrinks as d‖ψ‖²/dt = -Σ γ ‖L ψ‖²; it jumps where ‖ψ‖², from 1 after the last jump,
has fallen to a uniform random number (Dalibard, Castin and Mølmer 1992, doi:10.1103/PhysRevLett.68.580).
"""

from typing import NamedTuple

import numpy as np

from hpcsim.compiled import INLINE, njit
from hpcsim.ensemble.streams import fill_words, uniform
from hpcsim.methods.trajectories import in_time, kernels
from hpcsim.methods.trajectories.compile import PAD, Channels
from hpcsim.methods.trajectories.log import begin, note_jump, note_sample
from hpcsim.methods.trajectories.measurement import measure
from hpcsim.methods.trajectories.simd import CHUNK

JUMPS = np.uint64(0x4D435746)  # purpose of the random numbers: a jump's threshold, and its channel


@njit(cache=True, error_model="numpy")
def draw(words, number, jumps, key):
    """Threshold and channel number of the jump that follows `jumps` others."""
    fill_words(words, np.uint64(jumps), np.uint64(0), np.uint64(number), JUMPS, key)
    return uniform(words[0, 0]), uniform(words[1, 0])


class Tables(NamedTuple):
    """What moves the states of a system without a clock.

    generators, parity, flips : H_eff of both parities, that of the initial state, and what jumps do to it;
               or H_eff twice, -1 and zeros
    channels : jump operators
    """

    generators: tuple
    parity: int
    flips: np.ndarray
    channels: Channels


class Scratch(NamedTuple):
    """series : ORDER + 1 states;  states : two, and 1 + parts where something depends on time;  full : two not of one
    parity;  psi, after : (D,) complex;  weight : (channels,)"""

    series: np.ndarray
    states: np.ndarray
    full: np.ndarray
    psi: np.ndarray
    after: np.ndarray
    weight: np.ndarray


def scratch_of(tables: Tables, dimension: int, parts: int) -> Scratch:
    """parts : of H_eff that depend on time; 0 where nothing does"""
    shape = (2, 2 * PAD + tables.generators[0].diagonal.shape[1])
    full = np.zeros((2, 2, 2 * PAD + -(-dimension // CHUNK) * CHUNK))
    series, states = np.zeros((kernels.ORDER + 1, *shape)), np.zeros((2 + (1 + parts if parts else 0), *shape))
    psi, after = np.empty((2, dimension), complex)
    return Scratch(series, states, full, psi, after, np.empty(len(tables.channels.rate)))


@njit(error_model="numpy")
def run(sums, jumps, initial, first, samples, slots, tolerance, tables, moving, plan, key, scratch, log):
    """Run trajectories first, first + 1, ... to the last sample, adding what is measured to `sums`.

    sums     : (trajectories, slots, results); without results nothing is measured
    jumps    : (trajectories,) counts, from 0
    initial  : (trajectories or 1, D) complex, normalised
    samples, slots : rising times, and where each is added
    moving   : what depends on time, see `in_time`; None where nothing does
    log      : see `log.Log`
    """
    words, end, state = np.empty((4, 1), np.uint64), samples[-1], scratch.series[0]
    for t in range(len(jumps)):
        kernels.load(scratch.full[0], initial[t % len(initial)])
        parity = tables.parity
        begin(log)
        kernels.fold(state, scratch.full[0], parity, plan.turn)
        threshold, choice = draw(words, first + t, jumps[t], key)
        time, sample, piece, asked, reach = 0.0, 0, 0, end, in_time.REACH
        while sample < len(samples):
            generator = tables.generators[max(parity, 0)]
            until, scale = end, generator.scale
            if moving is None:
                kernels.fill_series(scratch.series, generator)
            else:
                piece = in_time.later_piece(moving, piece, time)
                asked = min(end, moving.ahead[piece], time + reach * scale)
                until = in_time.fill_series(
                    scratch.series, scratch.states[2:], generator, moving, piece, time, asked, tolerance
                )
            x = kernels.step_length(kernels.square(scratch.series[-1]), kernels.square(scratch.series[-2]), tolerance)
            reach = 1.25 * (min(x, (until - time) / scale) if until < asked else x)
            last = (until - time) / scale <= x
            if last:
                x = (until - time) / scale
            x, norm, jumped = kernels.place_jump(scratch.states[0], scratch.series, x, threshold, tolerance)
            later = until if last and not jumped else time + x * scale
            while sample < len(samples) and samples[sample] <= later:
                x = (samples[sample] - time) / scale
                take(sums, t, sample, slots[sample], x, parity, plan, scratch, log)
                sample += 1
            time = later
            if jumped:
                if moving is not None:
                    in_time.set_rates(tables.channels.rate, moving, piece, time)
                parity = jump(t, time, choice, parity, tables, plan, scratch, log)
                jumps[t] += 1
                threshold, choice = draw(words, first + t, jumps[t], key)
            else:
                kernels.normalise(scratch.states[0], norm)
                threshold /= norm
                kernels.copy(state, scratch.states[0])


@njit(**INLINE)
def take(sums, t, sample, slot, x, parity, plan, scratch, log):
    """Measure the state of trajectory t at x in its series, for one sample."""
    size, _ = kernels.sum_series(scratch.states[1], scratch.series, x)
    kernels.normalise(scratch.states[1], size)
    kernels.unfold(scratch.full[0], scratch.states[1], parity, plan.turn)
    note_sample(log, t, sample, scratch.full[0])
    if sums.shape[2]:
        measure(sums[t, slot], scratch.full[0], scratch.full[1], plan)


@njit(**INLINE)
def jump(t, time, choice, parity, tables, plan, scratch, log):
    """Trajectory t jumps from states[0], and its series starts anew; returns its parity."""
    kernels.unfold(scratch.full[0], scratch.states[0], parity, plan.turn)
    kernels.store(scratch.psi, scratch.full[0])
    channel = kernels.jump(scratch.psi, scratch.after, tables.channels, scratch.weight, choice)
    kernels.load(scratch.full[0], scratch.psi)
    parity = (parity + tables.flips[channel]) % 2 if parity >= 0 else parity
    kernels.fold(scratch.series[0], scratch.full[0], parity, plan.turn)
    note_jump(log, t, channel, time)
    return parity
