"""When a `target_error` ends a point, so that the error that is stated is the true one.

A rule that looks at the standard error of all records ends a point where that error happens to be small: among
the points that end, it is too small. Here the first sixth of the records decide for all of them. From the sample
variance s² of d records, σ² < s² (d - 1)/χ²_{0.1, d-1} with a confidence of 90 % where the records are normal, and n
records are enough for the target ε when n ≥ σ²/ε². The next look is taken where the last one expects the end. Most
records have no part in the decision: the true error is that stated within 1 % for normal records and within 2 % for
exponential variables, at the first look and at later ones (tests/test_ensemble.py).
"""

import math

FIRST_LOOK = 48  # records
FEWEST = 8  # records that decide
CONFIDENCE = 0.9


def deciding(records: int) -> int:
    """How many of the records, from the first on, decide whether they are enough."""
    return max(FEWEST, records // 6)


def needed(ratio: float, decided: int) -> float:
    """The number of records with which an error is below its target, with CONFIDENCE.

    ratio : standard error of the average over `decided` records, in units of the target; inf where it is not known
    """
    from scipy.special import chdtri  # here, for few runs have a target and need what takes so long to load

    freedom = decided - 1
    return decided * ratio**2 * freedom / chdtri(freedom, CONFIDENCE)


def next_look(look: int, expected: float, batches: int) -> int:
    """Number of records to look at after `look` were not enough and `expected` would be; all `batches` at most."""
    further = math.ceil(expected) if expected < 2 * look else 2 * look
    return min(batches, max(further, look + look // 8))
