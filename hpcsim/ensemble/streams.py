"""Ensembles of independent trajectories: random streams, and the split over records and ranks.

The random streams are counter-based: every number is a pure function of the key of the point and of
a counter (step, block, trajectory, purpose), so a trajectory is the same whatever the batch, the rank
or the run that computes it.
"""
import math
from typing import Annotated

import numpy as np
from numba import njit
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from hpcsim.ensemble.reduce import FIRST_LOOK
from hpcsim.system import Count, Number, Parameters

DRAWS_PER_BLOCK = 8
WINDOWS = 20        # of time, in which the end of the burn-in is looked for

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32, _16, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(16), np.uint64(0xFFFF)
_2, _3, _4, _5, _6, _7, _8, _9 = (np.uint64(n) for n in range(2, 10))
# of 65536 equal cases, this many give +a, as many -a, the rest 0; this a makes the variance 1 exactly
_TAIL = np.uint64(10923)
_UPPER = np.uint64(65536 - 10923)
THREE_POINT_AMPLITUDE = math.sqrt(65536 / (2 * 10923))


def or_auto(**bounds):
    """Validator of a number within bounds, or the word auto: one message where it is neither."""
    number = TypeAdapter(Annotated[Number, Field(**bounds)])

    def check(value):
        try:
            return value if value in ("auto", None) else number.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['msg'].removeprefix('Value error, ')}, or auto") from None
    return BeforeValidator(check)


def enough_for_burn_in(samples: int, duration: float, batch: int):
    """Raises ValueError where the end of the burn-in could not be found from the data."""
    if samples < WINDOWS:
        raise ValueError(f"burn_in = auto: needs at least {WINDOWS} samples, and duration = {duration:g} has "
                         f"{samples}; lower sample_every")
    if batch < 2:
        raise ValueError("burn_in = auto: needs batch >= 2, to compare times by their scatter over trajectories")


class EnsembleOptions(Parameters):
    """Options of every method that averages over trajectories.

    trajectories : how many per point
    batch        : how many make one record; standard errors come from the spread of the records
    target_error : {output: standard error, ...}: end a point where all elements of these outputs are known as well,
                   after 8, 12, 16, 24, 32, 48, ... records; trajectories is then how many at most. The end
                   depends on nothing but the records before it: not on the number of ranks, nor on kills
    """

    trajectories: Count = 256
    batch: Count = 64
    target_error: dict[str, Annotated[Number, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def _whole_batches(self):
        if self.trajectories % self.batch or self.trajectories < 2 * self.batch:
            mend = max(2, round(self.trajectories / self.batch)) * self.batch
            raise ValueError(
                f"trajectories = {self.trajectories}, batch = {self.batch}: trajectories must be batch times "
                f"a whole number of records, at least 2 (a standard error needs two); for example "
                f"trajectories: {mend}")
        if self.target_error and self.batches <= FIRST_LOOK:
            raise ValueError(
                f"target_error: standard errors are first looked at after {FIRST_LOOK} records, and trajectories = "
                f"{self.trajectories}, the most to take, are {self.batches} of batch = {self.batch}; raise "
                f"trajectories, or lower batch")
        return self

    @property
    def batches(self) -> int:
        """Number of records of one point."""
        return self.trajectories // self.batch


def share(batch: int, comm) -> range:
    """The trajectories, out of range(batch), that this rank of `comm` computes."""
    return range(batch * comm.rank // comm.size, batch * (comm.rank + 1) // comm.size)


def gather(values: np.ndarray, comm) -> np.ndarray:
    """Join every rank's [..., its trajectories] along the last axis, in their order, on all ranks."""
    return np.concatenate(comm.allgather(values), axis=-1)


def relaxed(sums: np.ndarray, counts: np.ndarray) -> int:
    """Number of slots of time to leave out before averaging over the steady state, half of them at most.

    sums   : (slots, moments, sublattices, trajectories) of the moments of the spin components
    counts : (slots,) samples of each

    The slots are joined to WINDOWS windows of time. A window differs if one of the moments is more than four standard
    errors from its average over the second half. What relaxes exponentially is, at twice the time of the last window
    that differs, as far below the noise as it was above it in the beginning: so much is left out.
    """
    if len(sums) < WINDOWS:
        return 0
    starts = np.searchsorted(np.arange(len(sums)) * WINDOWS // len(sums), np.arange(WINDOWS))
    sums, counts, half = np.add.reduceat(sums, starts), np.add.reduceat(counts, starts), WINDOWS // 2
    late = sums[half:].sum(axis=0) / counts[half:].sum()
    difference = sums / counts[:, None, None, None] - late
    # from all windows of the second half, since the trajectories may be few; these are part of `late`
    variance = difference[half:].var(axis=-1, ddof=1).mean(axis=0) * (half + 1) / (half - 1)
    error = np.sqrt(variance / sums.shape[-1]) + 1e-12 * np.abs(late).mean(axis=-1)
    apart = np.abs(difference[:half].mean(axis=-1)) > 4 * error
    last = int(np.max(np.flatnonzero(apart.any(axis=(1, 2))) + 1, initial=0))
    return int(starts[min(2 * last, half)])


def autocorrelation_time(means: np.ndarray, square: np.ndarray, duration: float) -> np.ndarray:
    """(...) ∫ C(t)/C(0) dt over t > 0 of a stationary x, the integrated autocorrelation time; NaN where x is constant.

    means  : (..., trajectories) averages of x over the duration, in each trajectory
    square : (...) average of x² over time and trajectories
    Averages over a long duration scatter with 2τ/duration times the variance of x.
    """
    if means.shape[-1] < 2:
        return np.full(square.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return duration / 2 * means.var(axis=-1, ddof=1) / (square - means.mean(axis=-1) ** 2)


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
            words[0, n], words[1, n], words[2, n], words[3, n], k0, k1)


@njit(cache=True, error_model="numpy")
def fill_words(words, step, block, first, purpose, key):
    """Random words of the counters (step, block, first + t, purpose) for t in range(words.shape[1])."""
    k0, k1 = key[0], key[1]
    for t in range(words.shape[1]):
        words[0, t], words[1, t], words[2, t], words[3, t] = _ten_rounds(
            step, block, first + np.uint64(t), purpose, k0, k1)


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
