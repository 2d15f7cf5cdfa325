"""The symmetry sectors of a Liouvillian together, for comparison with the whole."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from hpcsim.methods.liouvillian.estimate import multiplicities
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector


def all_sectors(system):
    """Every sector with its own spectrum, and how many sectors have that or its conjugate."""
    built, shifts = operators(system), len(multiplicities(system))
    copies = dict(built.symmetries.labels(shifts))
    for name in built.symmetries.names(shifts):
        yield Sector(built, name), copies[name.k, name.momentum]


def distance(first, second):
    """The largest distance in the best pairing of two sets of eigenvalues."""
    assert len(first) == len(second)
    between = abs(np.subtract.outer(first, second))
    return between[linear_sum_assignment(between)].max(initial=0)


def assert_same_spectrum(system, liouvillian):
    """The eigenvalues of all sectors are those of the dense matrix.

    Where eigenvectors coincide, rounding moves eigenvalues by a root of it; not their low moments.
    """
    whole, union = np.linalg.eigvals(liouvillian), []
    for sector, copies in all_sectors(system):
        if sector.size:
            values = np.linalg.eigvals(sector.rows(0, sector.size).toarray())
            union += [values] * (copies // 2 if sector.doubled else copies)
    union = np.concatenate(union)
    assert distance(union, whole) < 1e-3
    for power in (1, 2, 3):
        assert abs(np.sum(union**power) - np.sum(whole**power)) < 1e-10 * np.sum(abs(whole) ** power)
