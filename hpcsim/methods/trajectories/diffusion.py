"""Diffusive unravellings: the light of every channel is measured by homodyne or heterodyne detection.

In place of jumps the state diffuses, and channel k has the current dY_k = ⟨c_k + c_k†⟩ dt + dW_k, with c_k = √γ_k L_k
e^{-iφ} of the quadrature φ. The unnormalised state follows dψ = [-iH - ½ Σ c†c] ψ dt + Σ c_k ψ dY_k (Wiseman and
Milburn, Quantum Measurement and Control (2009), chapter 4). Heterodyne detection is that of both quadratures of c/√2.

A step h of one channel is one of three operators with the weights p = 1/6, 2/3, 1/6 at ξ = -√3, 0, √3,

    G(ξ) = 1 + hK + ½h²K² + √h ξ [c + ½h(Kc + cK)] + ½h (ξ² - 1) c²,    K = -½ c†c,

which is drawn with the probability p ‖G(ξ)ψ‖², and √h ξ is its part of the current. Σ p G ρ G† = exp(hD)ρ + O(h³). The
channels follow each other with h/2, there and back, between halves of exp(-iHh): the error of averages is of the order
h² (a weak Taylor scheme of second order: Kloeden and Platen, Numerical Solution of SDE (1992), section 14.2), the norm
is kept, and single currents have the moments of those of Gaussian noise, to that order.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from hpcsim.compiled import njit
from hpcsim.ensemble.streams import fill_words, uniform
from hpcsim.methods.trajectories import in_time, kernels
from hpcsim.methods.trajectories.compile import PAD, Channels, channels, generator, jump_channels, local_matrices
from hpcsim.methods.trajectories.log import Log, begin, note_sample
from hpcsim.methods.trajectories.measurement import Plan, measure
from hpcsim.methods.trajectories.simd import CHUNK
from hpcsim.system import System
from hpcsim.system.operators import adjoint

NOISE = np.uint64(0x44494646)  # purpose of the random numbers
SHARE = 0.1  # of the time 1/rate of the fastest site, the default step: averages of states are right to 3e-4


class Noises(NamedTuple):
    """Measured channels: c = factor L, of the channels L of the system; of heterodyne detection two of each.

    channel : (noises,) number of L;  factor : (noises,) complex
    lower, upper : L and L†
    """

    channel: np.ndarray
    factor: np.ndarray
    lower: Channels
    upper: Channels


def noises(system: System, heterodyne: bool, phase: float) -> Noises:
    """phase : φ in units of π"""
    found = jump_channels(system)
    back = [
        (rate, [(np.conj(w), [(adjoint(name), site) for name, site in reversed(p)]) for w, p in parts])
        for rate, parts in found
    ]
    turned = np.exp(-1j * np.pi * phase) * (np.array([1, -1j]) / math.sqrt(2) if heterodyne else np.ones(1))
    roots = np.sqrt([rate for rate, _ in found])
    which = np.repeat(np.arange(len(found)), len(turned))
    return Noises(which, np.outer(roots, turned).ravel(), channels(system), channels(system, back))


def step_of(system: System) -> float:
    """The default step: SHARE of the inverse of the largest row sum of H_eff on a site, with all its neighbours."""
    rates = np.zeros(system.sites)
    for sites, matrix in local_matrices(system).items():
        rates[list(sites)] += np.abs(matrix).sum(axis=1).max()
    return SHARE / max(rates.max(initial=0), 1e-300)


class Diffuser:
    """Runs trajectories of one system as a `walk.Walker` does, without jumps. step : None for `step_of`"""

    def __init__(self, system: System, heterodyne: bool, phase: float, step: float | None):
        alone = System(system.spins, system.hamiltonian, (), cutoffs=system.cutoffs)
        nothing = {(0,): np.zeros((int(system.levels[0]),) * 2)}
        self.generator = generator(system.levels, local_matrices(alone) or nothing)
        self.noises, self.step = noises(system, heterodyne, phase), step or step_of(system)
        self.dimension = round(system.dimension)

    @functools.cached_property
    def _scratch(self):
        states = np.zeros((3, 2, 2 * PAD + -(-self.dimension // CHUNK) * CHUNK))
        return states, np.zeros((7, self.dimension), complex)

    def run(self, psi, first: int, samples, slots, tolerance: float, plan: Plan, key, kept: Log, sums) -> np.ndarray:
        """(trajectories,) numbers of jumps: none, see `Walker.run`; tolerance : norm of the last term of exp(-iHh)"""
        if len(sums):
            tables = self.generator, self.noises
            run(sums, psi, first, samples, slots, self.step, tolerance, *tables, plan, key, *self._scratch, kept)
        return np.zeros(len(sums), np.int64)


@njit(cache=True, error_model="numpy")
def run(sums, initial, first, samples, slots, step, tolerance, generator, noises, plan, key, states, vectors, log):
    """Run trajectories first, first + 1, ... to the last sample, adding what is measured to `sums`, see `clock.run`.

    step    : at most, equal between two samples
    states  : three states;  vectors : (7, D) complex, scratch
    """
    words, psi = np.empty((4, 1), np.uint64), vectors[0]
    for t in range(len(sums)):
        for s in range(len(psi)):
            psi[s] = initial[t % len(initial), s]
        begin(log)
        time, number = 0.0, 0
        for sample in range(len(samples)):
            count = int(math.ceil((samples[sample] - time) / step - 1e-9))
            for _ in range(count):
                h = (samples[sample] - time) / count
                advance(psi, h, tolerance, first + t, number, generator, noises, key, states, vectors, words, log)
                number += 1
            time = samples[sample]
            kernels.load(states[0], psi)
            note_sample(log, t, sample, states[0])
            if sums.shape[2]:
                measure(sums[t, slots[sample]], states[0], states[1], plan)


@njit(cache=True, error_model="numpy")
def advance(psi, h, tolerance, trajectory, number, generator, noises, key, states, vectors, words, log):
    """One step, the one of this number, of a normalised state; in place."""
    count = len(noises.channel)
    unitary(psi, 0.5 * h, tolerance, generator, states)
    for k in range(2 * count):
        if k % 4 == 0:
            fill_words(words, np.uint64(number), np.uint64(k // 4), np.uint64(trajectory), NOISE, key)
        noise = k if k < count else 2 * count - 1 - k
        xi = diffuse(psi, 0.5 * h, noise, noises, vectors, uniform(words[k % 4, 0]))
        for c in range(len(log.weight)):
            log.running[0, c] += log.weight[c, noise] * math.sqrt(0.5 * h) * xi
    unitary(psi, 0.5 * h, tolerance, generator, states)


@njit(cache=True, error_model="numpy")
def unitary(psi, h, tolerance, generator, states):
    """psi = exp(-iHh) psi, by its Taylor series, in place."""
    total, term, after = states[0], states[1], states[2]
    kernels.load(total, psi)
    kernels.load(term, psi)
    for k in range(1, 1000):
        kernels.derivative(after, term, h / k, generator)
        in_time.add(total.ravel(), 1.0, after.ravel())
        kernels.copy(term, after)
        if kernels.square(term) < tolerance**2:
            break
    kernels.store(psi, total)


@njit(cache=True, error_model="numpy")
def expand(psi, h, noise, noises, vectors):
    """vectors[1], [2], [3] = u, v, w, with which G(ξ)ψ = u + ξ v + ξ² w."""
    u, v, w, a, b = vectors[1], vectors[2], vectors[3], vectors[4], vectors[5]
    d, channel, f = vectors[6], noises.channel[noise], noises.factor[noise]
    size = abs(f) ** 2
    act(a, psi, noises.lower, channel)  # Lψ
    act(b, a, noises.upper, channel)  # L†Lψ
    act(w, a, noises.lower, channel)  # LLψ
    act(d, b, noises.lower, channel)  # LL†Lψ
    for s in range(len(psi)):
        u[s] = psi[s] - 0.5 * h * size * b[s]
        v[s] = a[s] - 0.25 * h * size * d[s]
    act(b, d, noises.upper, channel)  # L†LL†Lψ
    act(a, w, noises.upper, channel)  # L†LLψ
    for s in range(len(psi)):
        w[s] *= 0.5 * h * f * f
        u[s] += 0.125 * (h * size) ** 2 * b[s] - w[s]
        v[s] = math.sqrt(h) * f * (v[s] - 0.25 * h * size * a[s])


@njit(cache=True, error_model="numpy")
def diffuse(psi, h, noise, noises, vectors, random):
    """Draw ξ by `random` in (0, 1), and psi = G(ξ)ψ, normalised, in place; returns ξ."""
    expand(psi, h, noise, noises, vectors)
    u, v, w = vectors[1], vectors[2], vectors[3]
    still = moved = mixed = 0.0
    for s in range(len(psi)):
        z = u[s] + 3 * w[s]
        still += u[s].real ** 2 + u[s].imag ** 2
        moved += z.real**2 + z.imag**2 + 3 * (v[s].real ** 2 + v[s].imag ** 2)
        mixed += z.real * v[s].real + z.imag * v[s].imag
    down, up = moved - 2 * math.sqrt(3.0) * mixed, moved + 2 * math.sqrt(3.0) * mixed
    place = random * (4 * still + down + up)
    xi, norm = 0.0, still
    if place < down:
        xi, norm = -math.sqrt(3.0), down
    elif place >= 4 * still + down:
        xi, norm = math.sqrt(3.0), up
    factor = 1 / math.sqrt(norm)
    for s in range(len(psi)):
        psi[s] = factor * (u[s] + xi * (v[s] + xi * w[s]))
    return xi


@njit(cache=True, error_model="numpy")
def act(out, psi, channels, channel):
    """out = L psi."""
    for s in range(len(out)):
        out[s] = 0
    for part in range(channels.parts[channel], channels.parts[channel + 1]):
        kernels.act(out, psi, channels, part)
