"""Sums of moments of classical spins over sites, for every trajectory."""

import math

from hpcsim.compiled import njit

# Σ over the sites of x, y, z, of their squares, of xy, yz, zx, of |s| and |s|²; squares of Σ x, Σ y, Σ z
QUANTITIES = 14


@njit(cache=True, error_model="numpy")
def measure(total, s, weights, shift, slope, sublattice, sums):
    """Add the moments of all sites to total, (QUANTITIES, sublattices, trajectories).

    Of bosons in the ordering k, ⟨Sj²⟩ is the mean of sj² + k|s|/2, for k = 0 of sj² - ⅛. The latter holds if
    |s| keeps its correlation with the direction of s, which conserved lengths drop: there |s| is the same for all,
    and ⟨Sj²⟩ = S(S+1) ⟨sj²⟩/|s|², which is right for both a polarised and a mixed spin. The symmetrised
    products of two components need no correction but that factor.

    weights : (sites,) this factor, or 1, or 0 where ⟨Sj²⟩ is a number
    shift, slope : of what is added to sj², shift + slope |s|
    sums    : scratch, (3, sublattices, trajectories)
    """
    for j in range(3):
        for k in range(total.shape[1]):
            for t in range(s.shape[2]):  # sums[:] = 0 would take longer to compile
                sums[j, k, t] = 0.0
    for i in range(s.shape[0]):
        k, weight = sublattice[i], weights[i]
        for t in range(s.shape[2]):
            x, y, z = s[i, 0, t], s[i, 1, t], s[i, 2, t]
            sums[0, k, t] += x
            sums[1, k, t] += y
            sums[2, k, t] += z
            total[6, k, t] += weight * (x * y)
            total[7, k, t] += weight * (y * z)
            total[8, k, t] += weight * (z * x)
        for t in range(s.shape[2]):
            xx, yy, zz = s[i, 0, t] ** 2, s[i, 1, t] ** 2, s[i, 2, t] ** 2
            length = math.sqrt(xx + yy + zz)
            order = shift + slope * length
            total[3, k, t] += weight * xx + order
            total[4, k, t] += weight * yy + order
            total[5, k, t] += weight * zz + order
            total[9, k, t] += length
            total[10, k, t] += xx + yy + zz
    for j in range(3):
        for k in range(total.shape[1]):
            for t in range(total.shape[2]):
                total[j, k, t] += sums[j, k, t]
                total[11 + j, k, t] += sums[j, k, t] ** 2


@njit(cache=True, error_model="numpy")
def add_components(total, s, axes, begin, sites):
    """Add to total[k] the mean of the component axes[k] over sites[begin[k]:begin[k + 1]], for every trajectory."""
    for k in range(len(axes)):
        share = 1 / (begin[k + 1] - begin[k])
        for i in sites[begin[k] : begin[k + 1]]:
            for t in range(s.shape[2]):
                total[k, t] += share * s[i, axes[k], t]
