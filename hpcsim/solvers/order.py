"""Which of several eigenvalues is the slowest, whatever rounding makes of equal ones."""

import numpy as np

TIE = 1e-8  # real parts this close, relative to the largest modulus, are equal: a defective pair splits by √ε


def slowest(values: np.ndarray) -> np.ndarray:
    """Index, along the last axis, of the eigenvalue of largest real part.

    Among those that are equal to rounding it is one of smallest |Im|, so that its frequency depends neither on the
    order in which LAPACK returns them nor on its last digits. NaN counts as -∞.
    """
    real = np.where(np.isnan(values.real), -np.inf, values.real)
    scale = np.nan_to_num(np.abs(values)).max(axis=-1, keepdims=True)
    tied = real >= real.max(axis=-1, keepdims=True) - TIE * scale
    return np.where(tied, np.nan_to_num(np.abs(values.imag)), np.inf).argmin(axis=-1)


def first_largest(values: np.ndarray, scale: float) -> int:
    """Index of the largest of real values, the first of those that are equal to rounding."""
    return int(np.argmax(values >= np.nanmax(values) - TIE * scale))
