"""Correlators of symmetric initial states."""

from math import comb

import numpy as np

from hpcsim.system import System, angles, starts


def correlators(system: System, initial, counts: np.ndarray) -> np.ndarray:
    """e(n_x, n_y, n_z) of an initial state of the kinds direction, fock, dicke and mixed: (len(counts),).

    counts : (strings, 3)
    """
    kind = starts.kind(initial)
    if kind == "mixed":
        return np.where(counts.any(axis=1), 0.0, 1.0)
    if kind == "dicke":
        up = round(system.sites / 2 + initial["dicke"])
        return _dicke(system.sites, up, counts)
    polar, azimuth = np.pi * np.array(_direction(system, initial))
    across = np.sin(polar) * np.array([np.cos(azimuth), np.sin(azimuth)])
    direction = np.round([*across, np.cos(polar)], 15)
    return np.prod(direction**counts, axis=1)


def is_even(system: System, initial) -> bool:
    """Whether the correlators with n_x + n_y odd are known to vanish."""
    kind = starts.kind(initial)
    return kind not in ("direction", *starts.OF_RUN) or starts.known_levels(system, initial) is not None


def _direction(system: System, initial) -> tuple[float, float]:
    if starts.kind(initial) == "direction":
        return tuple(angles(system, initial)[0] / np.pi)
    return (float(starts.levels(system, initial)[0]), 0.0)


def _dicke(N: int, up: int, counts: np.ndarray) -> np.ndarray:
    """Those of the symmetric state with this many spins up.

    The product states a|up> + b|down>, averaged over the phase of a, are Σ_k C(N, k) |a|^2k |b|^2(N-k) |k><k| with the
    Dicke states |k>. Their correlators, with p = |a|² and q = |b|², n = n_x + n_y both even,

        2^n <cos^n_x sin^n_y> (pq)^(n/2) (p - q)^n_z (p + q)^(N - n - n_z),

    have the coefficient C(N, k) e_k of p^k q^(N-k). Integers are exact, as the sums alternate.
    """
    found, total = np.zeros(len(counts)), comb(N, up)
    of_z: dict[tuple[int, int], float] = {}
    for u, (x, y, z) in enumerate(counts.tolist()):
        half = (x + y) // 2
        if x % 2 or y % 2 or not half <= up <= N - half:
            continue
        if (half, z) not in of_z:
            place, rest = up - half, N - 2 * half - z
            terms = ((-1) ** (z - i) * comb(z, i) * comb(rest, place - i) for i in range(min(z, place) + 1))
            of_z[half, z] = sum(terms) * 4**half / total
        found[u] = of_z[half, z] * _mean_power(x, y)
    return found


def _mean_power(x: int, y: int) -> float:
    """<cos^x φ sin^y φ> over all φ, of even x and y: (x - 1)!! (y - 1)!! / (x + y)!!."""
    found = 1.0
    for i in range(1, x, 2):
        found *= i / (i + 1)
    for i in range(1, y, 2):
        found *= i / (x + i + 1)
    return found
