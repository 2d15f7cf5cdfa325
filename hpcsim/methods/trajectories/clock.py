"""The loop over trajectories: several at once, each with its own clock.

A trajectory without jumps shrinks as d‖ψ‖²/dt = -Σ γ ‖L ψ‖²; it jumps where ‖ψ‖², from 1 after the last jump,
has fallen to a uniform random number (Dalibard, Castin and Mølmer 1992, doi:10.1103/PhysRevLett.68.580).
"""
import numpy as np
from numba import njit

from hpcsim.ensemble import fill_words, uniform
from hpcsim.methods.trajectories import kernels
from hpcsim.methods.trajectories.measurement import measure

JUMPS = np.uint64(0x4D435746)       # purpose of the random numbers: a jump's threshold, and its channel


@njit(cache=True, error_model="numpy")
def _draw(words, number, jumps, key):
    """Threshold and channel number of the jump that follows `jumps` others."""
    fill_words(words, np.uint64(jumps), np.uint64(0), np.uint64(number), JUMPS, key)
    return uniform(words[0, 0]), uniform(words[1, 0])


@njit(cache=True, error_model="numpy")
def run(sums, jumps, initial, first, lanes, samples, slots, tolerance, generator, channels, plan, key):
    """Run trajectories first, first + 1, ... to the last sample, adding what is measured to `sums`.

    sums     : (trajectories, slots, results)
    jumps    : (trajectories,) counts, from 0
    initial  : (D,) complex, normalised
    lanes    : trajectories at once; a lane whose trajectory is done takes the next
    samples, slots : rising times, and where each is added
    """
    trajectories, dimension, end = len(jumps), len(initial), samples[-1]
    size = dimension * lanes
    series = np.zeros((kernels.ORDER + 1, size + kernels.PADDING), np.complex128)
    diagonal = np.repeat(generator.diagonal, lanes)
    state, psi, scratch = np.empty(size, np.complex128), np.empty_like(initial), np.empty_like(initial)
    x, norm, slope = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    time, threshold, choice = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    jumped, ends, sample = np.zeros(lanes, np.bool_), np.zeros(lanes, np.bool_), np.zeros(lanes, np.int64)
    weight, words = np.empty(len(channels.rate)), np.empty((4, 1), np.uint64)
    number, waiting, running = np.full(lanes, -1), 0, 0
    for l in range(min(lanes, trajectories)):
        number[l], waiting, running = waiting, waiting + 1, running + 1
        series[0, l:size:lanes] = initial
        threshold[l], choice[l] = _draw(words, first + number[l], 0, key)
    while running:
        for k in range(1, kernels.ORDER + 1):
            kernels.derivative(series[k][:size], series[k - 1][:size], generator.scale / k, generator, diagonal)
        kernels.step_lengths(x, series, tolerance)
        for l in range(lanes):
            ends[l] = (end - time[l]) / generator.scale <= x[l]
            if ends[l]:
                x[l] = (end - time[l]) / generator.scale
            if number[l] < 0:
                x[l] = 0.0
        kernels.place_jumps(state, series, x, threshold, tolerance, norm, slope, jumped)
        for l in range(lanes):
            if number[l] < 0:
                continue
            done = ends[l] and not jumped[l]
            after = end if done else time[l] + x[l] * generator.scale
            while sample[l] < len(samples) and samples[sample[l]] <= after:
                kernels.state_at(psi, series, l, lanes, (samples[sample[l]] - time[l]) / generator.scale)
                measure(sums[number[l], slots[sample[l]]], psi, plan)
                sample[l] += 1
            if done:
                number[l] = waiting if waiting < trajectories else -1
                running -= waiting >= trajectories
                waiting += 1
                time[l], sample[l] = 0.0, 0
                series[0, l:size:lanes] = initial
                if number[l] >= 0:
                    threshold[l], choice[l] = _draw(words, first + number[l], 0, key)
                else:
                    threshold[l] = 0.0
                continue
            time[l] = after
            if jumped[l]:
                psi[:] = state[l::lanes]
                kernels.jump(psi, scratch, channels, weight, choice[l])
                series[0, l:size:lanes] = psi
                jumps[number[l]] += 1
                threshold[l], choice[l] = _draw(words, first + number[l], jumps[number[l]], key)
            else:
                threshold[l] /= norm[l]
                root = np.sqrt(norm[l])
                for s in range(l, size, lanes):
                    series[0, s] = state[s] / root
