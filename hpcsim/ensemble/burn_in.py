"""Where the burn-in of a steady state ends, and how long its correlations last."""

import numpy as np

WINDOWS = 20  # of time, in which the end of the burn-in is looked for


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
