"""Random streams of trajectories.

They are counter-based: every number is a pure function of the key of the point and of
a counter (step, block, trajectory, purpose), so a trajectory is the same whatever the batch, the rank
or the run that computes it.
"""

import math

import numpy as np

from hpcsim.compiled import njit

DRAWS_PER_BLOCK = 8
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32, _16, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(16), np.uint64(0xFFFF)
_2, _3, _4, _5, _6, _7, _8, _9 = (np.uint64(n) for n in range(2, 10))
# of 65536 equal cases, this many give +a, as many -a, the rest 0; this a makes the variance 1 exactly
_TAIL = np.uint64(10923)
_UPPER = np.uint64(65536 - 10923)
THREE_POINT_AMPLITUDE = math.sqrt(65536 / (2 * 10923))


@njit(cache=True)
def _round(c0, c1, c2, c3, k0, k1):
    # the masks tell the compiler that 32x32-bit products suffice
    p0, p1 = _M0 * (c0 & _LOW), _M1 * (c2 & _LOW)
    return (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW


@njit(cache=True)
def _ten_rounds(a, b, c, d, k0, k1):
    # written out: a loop over the rounds would not be vectorised over trajectories
    a, b, c, d = _round(a, b, c, d, k0, k1)
    a, b, c, d = _round(a, b, c, d, (k0 + _W0) & _LOW, (k1 + _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _2 * _W0) & _LOW, (k1 + _2 * _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _3 * _W0) & _LOW, (k1 + _3 * _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _4 * _W0) & _LOW, (k1 + _4 * _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _5 * _W0) & _LOW, (k1 + _5 * _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _6 * _W0) & _LOW, (k1 + _6 * _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _7 * _W0) & _LOW, (k1 + _7 * _W1) & _LOW)
    a, b, c, d = _round(a, b, c, d, (k0 + _8 * _W0) & _LOW, (k1 + _8 * _W1) & _LOW)
    return _round(a, b, c, d, (k0 + _9 * _W0) & _LOW, (k1 + _9 * _W1) & _LOW)


@njit(cache=True, error_model="numpy")
def philox4x32(words, key):
    """Philox4x32-10: replace every column of `words`, a counter, by four random 32-bit words, in place.

    words : (4, n) uint64 that hold 32-bit values
    key   : (2,) likewise
    Source: Salmon, Moraes, Dror and Shaw, SC11 (2011), doi:10.1145/2063384.2063405.
    """
    k0, k1 = key[0], key[1]
    for n in range(words.shape[1]):
        words[0, n], words[1, n], words[2, n], words[3, n] = _ten_rounds(
            words[0, n], words[1, n], words[2, n], words[3, n], k0, k1
        )


@njit(cache=True, error_model="numpy")
def fill_words(words, step, block, first, purpose, key):
    """Random words of the counters (step, block, first + t, purpose) for t in range(words.shape[1])."""
    k0, k1 = key[0], key[1]
    for t in range(words.shape[1]):
        words[0, t], words[1, t], words[2, t], words[3, t] = _ten_rounds(
            step, block, first + np.uint64(t), purpose, k0, k1
        )


@njit(cache=True)
def uniform(word):
    """Uniform in (0, 1), never 0 or 1, from one 32-bit word."""
    return (word + 0.5) / 4294967296.0


@njit(cache=True, error_model="numpy")
def fill_normals(out, words, step, block, first, purpose, key):
    """Four independent standard normals (Box-Muller) for each trajectory first + t: out is (4, trajectories).

    words : (4, trajectories) uint64, scratch
    """
    fill_words(words, step, block, first, purpose, key)
    for t in range(out.shape[1]):
        for pair in (0, 2):
            radius = math.sqrt(-2 * math.log(uniform(words[pair, t])))
            angle = 2 * math.pi * uniform(words[pair + 1, t])
            out[pair, t], out[pair + 1, t] = radius * math.cos(angle), radius * math.sin(angle)


@njit(cache=True, error_model="numpy")
def fill_three_point(out, words, scale, step, block, first, purpose, key):
    """out[d, t] = scale[d] times a three-point variable of (step, block + d // 8, trajectory first + t).

    It is ±√3 with probability 1/6 each and else 0, to 16 bits: the moments of a normal up to the fifth,
    which is all that a weak second-order step sees.

    out   : (len(scale) or more, trajectories), further rows are left alone; len(scale) is even
    words : (4, trajectories) uint64, scratch
    """
    for k in range(len(scale) // 2):
        word = k % (DRAWS_PER_BLOCK // 2)
        if word == 0:
            fill_words(words, step, block + np.uint64(2 * k // DRAWS_PER_BLOCK), first, purpose, key)
        a, b = scale[2 * k] * THREE_POINT_AMPLITUDE, scale[2 * k + 1] * THREE_POINT_AMPLITUDE
        for t in range(out.shape[1]):
            u, v = words[word, t] & _HALF, words[word, t] >> _16
            out[2 * k, t] = a if u < _TAIL else (-a if u >= _UPPER else 0.0)
            out[2 * k + 1, t] = b if v < _TAIL else (-b if v >= _UPPER else 0.0)
