"""The loop over trajectories.

A trajectory without jumps shrinks as d‖ψ‖²/dt = -Σ γ ‖L ψ‖²; it jumps where ‖ψ‖², from 1 after the last jump,
has fallen to a uniform random number (Dalibard, Castin and Mølmer 1992, doi:10.1103/PhysRevLett.68.580).
"""

import numpy as np

from hpcsim.compiled import njit
from hpcsim.ensemble.streams import fill_words, uniform
from hpcsim.methods.trajectories import in_time, kernels
from hpcsim.methods.trajectories.log import begin, note_jump, note_sample
from hpcsim.methods.trajectories.measurement import measure

JUMPS = np.uint64(0x4D435746)  # purpose of the random numbers: a jump's threshold, and its channel


@njit(cache=True, error_model="numpy")
def draw(words, number, jumps, key):
    """Threshold and channel number of the jump that follows `jumps` others."""
    fill_words(words, np.uint64(jumps), np.uint64(0), np.uint64(number), JUMPS, key)
    return uniform(words[0, 0]), uniform(words[1, 0])


@njit(cache=True, error_model="numpy")
def run(
    sums,
    jumps,
    initial,
    first,
    samples,
    slots,
    tolerance,
    generators,
    parity,
    flips,
    channels,
    moving,
    plan,
    key,
    series,
    states,
    full,
    log,
):
    """Run trajectories first, first + 1, ... to the last sample, adding what is measured to `sums`.

    sums     : (trajectories, slots, results); without results nothing is measured
    jumps    : (trajectories,) counts, from 0
    initial  : (trajectories or 1, D) complex, normalised
    samples, slots : rising times, and where each is added
    generators, parity, flips : H_eff of both parities, that of the initial state, and what jumps do to it;
               or H_eff twice, -1 and zeros
    moving   : what depends on time, see `in_time`
    series, states, full : ORDER + 1 states; two, and 1 + parts where something depends on time; and two not of one
               parity
    log      : see `log.Log`
    """
    psi, after, p = np.empty_like(initial[0]), np.empty_like(initial[0]), parity
    weight, words, end = np.empty(len(channels.rate)), np.empty((4, 1), np.uint64), samples[-1]
    breaks, pieces = moving.curve.breaks, len(moving.curve.coefficients)
    for t in range(len(jumps)):
        kernels.load(full[0], initial[t % len(initial)])
        p = parity
        begin(log)
        kernels.fold(series[0], full[0], p, plan.turn)
        threshold, choice = draw(words, first + t, jumps[t], key)
        time, sample, piece, until, asked, reach = 0.0, 0, 0, end, end, in_time.REACH
        while sample < len(samples):
            generator = generators[max(p, 0)]
            if pieces:
                while piece + 1 < pieces and time >= breaks[piece + 1]:
                    piece += 1
                asked = min(end, moving.ahead[piece], time + reach * generator.scale)
                until = in_time.fill_series(series, states[2:], generator, moving, piece, time, asked, tolerance)
            else:
                for k in range(1, kernels.ORDER + 1):
                    kernels.derivative(series[k], series[k - 1], generator.scale / k, generator)
            x = kernels.step_length(kernels.square(series[-1]), kernels.square(series[-2]), tolerance)
            if pieces:
                reach = 1.25 * (min(x, (until - time) / generator.scale) if until < asked else x)
            last = (until - time) / generator.scale <= x
            if last:
                x = (until - time) / generator.scale
            x, norm, jumped = kernels.place_jump(states[0], series, x, threshold, tolerance)
            later = until if last and not jumped else time + x * generator.scale
            while sample < len(samples) and samples[sample] <= later:
                size, _ = kernels.sum_series(states[1], series, (samples[sample] - time) / generator.scale)
                kernels.normalise(states[1], size)
                kernels.unfold(full[0], states[1], p, plan.turn)
                note_sample(log, t, sample, full[0])
                if sums.shape[2]:
                    measure(sums[t, slots[sample]], full[0], full[1], plan)
                sample += 1
            time = later
            if jumped:
                kernels.unfold(full[0], states[0], p, plan.turn)
                kernels.store(psi, full[0])
                if pieces:
                    in_time.set_rates(channels.rate, moving, piece, time)
                channel = kernels.jump(psi, after, channels, weight, choice)
                kernels.load(full[0], psi)
                p = (p + flips[channel]) % 2 if p >= 0 else p
                kernels.fold(series[0], full[0], p, plan.turn)
                note_jump(log, t, channel, time)
                jumps[t] += 1
                threshold, choice = draw(words, first + t, jumps[t], key)
            else:
                kernels.normalise(states[0], norm)
                threshold /= norm
                kernels.copy(series[0], states[0])
