"""Samples of spin coherent states in the P, Wigner and Q representations, and of the discrete Wigner function."""

import math

import numpy as np

from hpcsim.compiled import njit
from hpcsim.ensemble.streams import fill_normals, fill_words, uniform
from hpcsim.methods.phase_space.kernels import INITIAL
from hpcsim.system import System, starts

DIRECTIONS = np.uint64(0x44495245)  # purpose of the random numbers: directions of a mixed state
SHARP, FOCK, COHERENT, P, Q = range(5)


def directions(system: System, initial, trajectories: int, first, key) -> np.ndarray:
    """(sites, 2, n) polar angles and azimuths; n = 1 where all trajectories start alike.

    Coherent states in all directions alike are the mixed state 1/D, of spins of any size.
    """
    if initial != "mixed":
        return starts.directions(system, initial, tuple(key.tolist()))[:, :, None]
    found, words = np.empty((system.sites, 2, trajectories)), np.empty((4, trajectories), np.uint64)
    for site in range(system.sites):
        fill_words(words, np.uint64(0), np.uint64(site), first, DIRECTIONS, key)
        found[site] = np.arccos(1 - 2 * uniform.py_func(words[0])), 2 * np.pi * uniform.py_func(words[1])
    return found


def is_negative(system: System, initial) -> bool:
    """Whether the Wigner function of a start is negative somewhere, which no samples follow."""
    if starts.kind(initial) != "fock":
        return False
    level = starts.levels(system, initial)
    return bool(np.any((level > 0) & (level < system.levels - 1)))


def discrete(s, angles, first, key):
    """Spins 1/2 in the directions `angles`, as `spin_coherent` has them, from the discrete Wigner function.

    Along its direction a spin has the component ½, and each of two directions perpendicular to it ½ or -½ with
    equal probabilities: |s|² = ¾ = S(S + 1), and all moments of the discrete samples are those of the state
    (Wootters, Ann. Phys. 176, 1 (1987); Schachenmayer, Pikovski and Rey, Phys. Rev. X 5, 011022 (2015)).
    s : (sites, 3, trajectories), set in place
    """
    words = np.empty((4, s.shape[2]), np.uint64)
    for i in range(len(s)):
        fill_words(words, np.uint64(0), np.uint64(i), first, INITIAL, key)
        x, y = (np.where(words[k] % np.uint64(2), 0.5, -0.5) for k in (0, 1))
        (polar, azimuth), z = angles[i], 0.5
        x, z = np.cos(polar) * x + np.sin(polar) * z, np.cos(polar) * z - np.sin(polar) * x
        s[i] = np.cos(azimuth) * x - np.sin(azimuth) * y, np.sin(azimuth) * x + np.cos(azimuth) * y, z


def spin_coherent(z, distribution, spins, angles, first, key):
    """Spinors of the spin coherent states in the directions `angles`, (sites, 2, trajectories or 1).

    A sample of the state "up", 2S bosons in α and none in β, is rotated (huber2021, Sections 2.5 and 2.6):

    P        α = √2S, β = 0: a coherent state of α
    Q        |α|² has the Gamma distribution of shape 2S + 1, β is normal with ⟨|β|²⟩ = 1
    Wigner   β is normal with ⟨|β|²⟩ = ½ and
       COHERENT  α = √2S + the like, a coherent state as in huber2021: ⟨Sj²⟩ is off by a relative 1/(2S)
       FOCK      |α|² has the mean 2S + ½ and the variance ¼ of the Fock state 2S
       SHARP     |α|² = 2S + 1 - |β|², so that |s| = S + ½
    """
    _up(z, distribution, spins, first, key)
    if distribution == Q:
        _gamma(z, spins, first, key)
    _turn(z, angles)


@njit(cache=True, error_model="numpy")
def _up(z, distribution, spins, first, key):
    """Samples of the state "up"; for Q without those of α."""
    normals, words = np.empty((4, z.shape[2])), np.empty((4, z.shape[2]), np.uint64)
    width = 0.0 if distribution == P else (math.sqrt(0.5) if distribution == Q else 0.5)
    for i in range(z.shape[0]):
        fill_normals(normals, words, np.uint64(0), np.uint64(i), first, INITIAL, key)
        bosons = 2 * spins[i]
        for t in range(z.shape[2]):
            br, bi, ar, ai = width * normals[0, t], width * normals[1, t], math.sqrt(bosons), 0.0
            if distribution == COHERENT:
                ar, ai = ar + normals[2, t] / 2, normals[3, t] / 2
            elif distribution == FOCK:
                ar = math.sqrt(max(bosons + 0.5 + normals[2, t] / 2, 0.0))
            elif distribution == SHARP:
                # the rare |β|² beyond 2S + 1, at the smallest spins, is set to it
                fit = math.sqrt(max(1.0, (br * br + bi * bi) / (bosons + 1)))
                br, bi = br / fit, bi / fit
                ar = math.sqrt(max(bosons + 1 - br * br - bi * bi, 0.0))
            z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t] = ar, ai, br, bi


@njit(cache=True, error_model="numpy")
def _turn(z, angles):
    """Rotate spinors from "up" to the directions `angles`."""
    for i in range(z.shape[0]):
        for t in range(z.shape[2]):
            polar, azimuth = angles[i, 0, t % angles.shape[2]], angles[i, 1, t % angles.shape[2]]
            c, s = math.cos(polar / 2), math.sin(polar / 2)
            p, q = math.cos(azimuth), math.sin(azimuth)
            ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
            re, im = c * ar - s * br, c * ai - s * bi
            z[i, 0, t], z[i, 1, t] = p * re + q * im, p * im - q * re
            z[i, 2, t], z[i, 3, t] = s * ar + c * br, s * ai + c * bi


@njit(cache=True, error_model="numpy")
def _gamma(z, spins, first, key):
    """Re α = the root of a variable of the Gamma distribution of shape 2S + 1.

    Source: Marsaglia and Tsang (2000), doi:10.1145/358407.358414.

    All trajectories draw again until the last is accepted: the numbers of one do not depend on the others.
    """
    normals, words = np.empty((4, z.shape[2])), np.empty((4, z.shape[2]), np.uint64)
    for i in range(z.shape[0]):
        d = 2 * spins[i] + 2 / 3
        c, attempt, waiting = 1 / math.sqrt(9 * d), np.uint64(1), z.shape[2]
        for t in range(z.shape[2]):
            z[i, 0, t] = -1.0
        while waiting:
            fill_normals(normals, words, attempt, np.uint64(i), first, INITIAL, key)
            for t in range(z.shape[2]):
                x, v, u = normals[0, t], (1 + c * normals[0, t]) ** 3, math.erfc(normals[2, t] / math.sqrt(2)) / 2
                if z[i, 0, t] < 0 and v > 0 and math.log(u) < x * x / 2 + d - d * v + d * math.log(v):
                    z[i, 0, t] = math.sqrt(d * v)
                    waiting -= 1
            attempt += np.uint64(1)
