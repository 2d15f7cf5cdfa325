"""The inner loops of the truncated Wigner method.

Arrays are (site, component, trajectory), the trajectory contiguous: spins s have the components x, y, z,
spinors z the components Re α, Im α, Re β, Im β. Lengths are read from the arrays and rows are never sliced
off, since each slice costs as much as a few dozen trajectories. No fast-math anywhere: a trajectory is the
same to the last bit wherever in an array it stands.
"""
import math

import numpy as np
from numba import njit

from hpcsim.ensemble import fill_normals, fill_three_point

# what random numbers are drawn for
INITIAL, FIELD, SPINOR, SPINOR_END = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
# first and second moments of x, y, z and of |s|
QUANTITIES = 8


@njit(cache=True, error_model="numpy")
def _half_angle(w, s, i, tables, noise):
    """w = b dt/2 on site i, (3, trajectories): the field of the spins s, and the noise of this step."""
    a, b, c, damping = tables.field[i, 0], tables.field[i, 1], tables.field[i, 2], tables.damping[i]
    j, k, m = tables.draw[i, 0], tables.draw[i, 1], tables.draw[i, 2]
    for t in range(w.shape[1]):
        w[0, t] = a + noise[j, t] - damping * s[i, 1, t]
        w[1, t] = b + noise[k, t] + damping * s[i, 0, t]
        w[2, t] = c + noise[m, t]
    for e in range(tables.start[i], tables.start[i + 1]):
        n = tables.neighbour[e]
        a, b, c = tables.coupling[e, 0], tables.coupling[e, 1], tables.coupling[e, 2]
        for t in range(w.shape[1]):
            w[0, t] += a * s[n, 0, t]
            w[1, t] += b * s[n, 1, t]
        if c != 0:
            for t in range(w.shape[1]):
                w[2, t] += c * s[n, 2, t]


@njit(cache=True, error_model="numpy")
def _midpoint(p, s, w, i):
    """p_i = (s_i + s_i')/2, where s_i' is the Cayley rotation of s_i by w = b dt/2."""
    for t in range(w.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], w[0, t], w[1, t], w[2, t]
        along, scale = a * x + b * y + c * z, 1 / (1 + a * a + b * b + c * c)
        p[i, 0, t] = (x + b * z - c * y + a * along) * scale
        p[i, 1, t] = (y + c * x - a * z + b * along) * scale
        p[i, 2, t] = (z + a * y - b * x + c * along) * scale


@njit(cache=True, error_model="numpy")
def _rotate_spin(s, w, i):
    """The Cayley rotation itself, in place: s_i' = 2 p_i - s_i."""
    for t in range(w.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], w[0, t], w[1, t], w[2, t]
        along, scale = a * x + b * y + c * z, 2 / (1 + a * a + b * b + c * c)
        s[i, 0, t] = (x + b * z - c * y + a * along) * scale - x
        s[i, 1, t] = (y + c * x - a * z + b * along) * scale - y
        s[i, 2, t] = (z + a * y - b * x + c * along) * scale - z


@njit(cache=True, error_model="numpy")
def _rotate_spinor(z, w, i):
    """The same rotation of a spinor: (1 - i w·σ) / sqrt(1 + w²)."""
    for t in range(w.shape[1]):
        ar, ai, br, bi, x, y, c = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t], w[0, t], w[1, t], w[2, t]
        scale = 1 / math.sqrt(1 + x * x + y * y + c * c)
        z[i, 0, t] = (ar + c * ai + x * bi - y * br) * scale
        z[i, 1, t] = (ai - c * ar - x * br - y * bi) * scale
        z[i, 2, t] = (br + x * ai + y * ar - c * bi) * scale
        z[i, 3, t] = (bi - x * ar + y * ai + c * br) * scale


@njit(cache=True, error_model="numpy")
def _spins(s, z):
    """s = ψ† σ ψ / 2 of the spinors ψ = (α, β)."""
    for i in range(s.shape[0]):
        for t in range(s.shape[2]):
            ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
            s[i, 0, t] = ar * br + ai * bi
            s[i, 1, t] = ar * bi - ai * br
            s[i, 2, t] = (ar * ar + ai * ai - br * br - bi * bi) / 2


@njit(cache=True, error_model="numpy")
def _diffuse(z, tables, normals, words, duration, step, first, purpose, key):
    """The noise of decay and pump on spinors over a duration, with the linear damping that goes with it.

    What the rotation leaves of S- at the standard rate 2κ is, with A = |α|² and B = |β|²,

        dα = -κα/2 dt + sqrt(κ(B + ½)/2) (dW1 + i dW2),    dβ = -κβ/2 dt + sqrt(κ(A - ½)₊/2) (dW3 + i dW4),

    and S+ the same with (α, A) and (β, B) exchanged. A and B are frozen meanwhile; the
    step is then exact and keeps the mean of A + B.
    """
    unit = np.ones(len(normals))
    for i in range(z.shape[0]):
        up = (1 - math.exp(-tables.gain[i] * duration / 2)) / 2
        down = (1 - math.exp(-tables.loss[i] * duration / 2)) / 2
        if up == 0 and down == 0:
            continue
        keep = math.sqrt((1 - 2 * up) * (1 - 2 * down))
        fill_three_point(normals, words, unit, step, np.uint64(i), first, purpose, key)
        for t in range(z.shape[2]):
            ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
            A, B = ar * ar + ai * ai, br * br + bi * bi
            # (x + |x|)/2 is the positive part of x
            a = math.sqrt(down * (B + 0.5) + up * (B - 0.5 + abs(B - 0.5)) / 2)
            b = math.sqrt(up * (A + 0.5) + down * (A - 0.5 + abs(A - 0.5)) / 2)
            z[i, 0, t] = keep * ar + a * normals[0, t]
            z[i, 1, t] = keep * ai + a * normals[1, t]
            z[i, 2, t] = keep * br + b * normals[2, t]
            z[i, 3, t] = keep * bi + b * normals[3, t]


@njit(cache=True, error_model="numpy")
def _measure(total, s, spins, conserving, sublattice):
    """Add the estimates of ⟨Sj⟩, ⟨Sj²⟩, and |s|, |s|², to total, (QUANTITIES, sublattices, trajectories).

    In the Wigner representation of the bosons ⟨Sj²⟩ is the mean of sj² - ⅛. That holds if |s| keeps its
    correlation with the direction of s, which `conserving` drops: there |s| = S + ½ for all, and
    ⟨Sj²⟩ = S(S+1) ⟨sj²⟩/|s|², which is right for both a polarised and a mixed spin.
    """
    for i in range(s.shape[0]):
        k, S = sublattice[i], spins[i]
        weight, order = (S * (S + 1) / (S + 0.5) ** 2, 0.0) if conserving else (1.0, 0.125)
        for t in range(s.shape[2]):
            x, y, z = s[i, 0, t], s[i, 1, t], s[i, 2, t]
            total[0, k, t] += x
            total[1, k, t] += y
            total[2, k, t] += z
        for t in range(s.shape[2]):
            xx, yy, zz = s[i, 0, t] ** 2, s[i, 1, t] ** 2, s[i, 2, t] ** 2
            total[3, k, t] += weight * xx - order
            total[4, k, t] += weight * yy - order
            total[5, k, t] += weight * zz - order
            total[6, k, t] += math.sqrt(xx + yy + zz)
            total[7, k, t] += xx + yy + zz


@njit(cache=True, error_model="numpy")
def spin_coherent(z, conserving, spins, angles, first, key):
    """Spinors of the spin coherent states in the directions `angles`, (sites, 2) polar and azimuth.

    A Wigner sample of the state "up" is rotated: β is the vacuum, and |α|² has the mean 2S + ½ and the
    variance ¼ of the Fock state 2S, or with `conserving` |α|² = 2S + 1 - |β|², so that |s| = S + ½.
    """
    normals, words = np.empty((4, z.shape[2])), np.empty((4, z.shape[2]), np.uint64)
    for i in range(z.shape[0]):
        fill_normals(normals, words, np.uint64(0), np.uint64(i), first, INITIAL, key)
        c, s = math.cos(angles[i, 0] / 2), math.sin(angles[i, 0] / 2)
        p, q = math.cos(angles[i, 1]), math.sin(angles[i, 1])
        for t in range(z.shape[2]):
            br, bi = normals[0, t] / 2, normals[1, t] / 2
            a = math.sqrt(max(2 * spins[i] + 0.5 + normals[2, t] / 2, 0.0))
            if conserving:
                # the rare |β|² beyond 2S + 1, at the smallest spins, is set to it
                fit = math.sqrt(max(1.0, (br * br + bi * bi) / (2 * spins[i] + 1)))
                br, bi = br / fit, bi / fit
                a = math.sqrt(max(2 * spins[i] + 1 - br * br - bi * bi, 0.0))
            re, im = c * a - s * br, -s * bi
            z[i, 0, t], z[i, 1, t] = p * re + q * im, p * im - q * re
            z[i, 2, t], z[i, 3, t] = s * a + c * br, c * bi


@njit(cache=True, error_model="numpy")
def simulate(total, gaps, slots, z, conserving, tables, dt, spins, sublattice, first, key):
    """Integrate from the spinors z, and after each gap of `gaps` steps add the moments to total[slot].

    One step is the semi-implicit Cayley step: the field at s, with its noise, takes s to the midpoint; the
    field there, with the same noise, rotates s. It keeps |s|. Without `conserving` it rotates the spinors,
    between two half steps of their noise (Strang), of which those that meet are done as one.

    total  : (slots, QUANTITIES, sublattices, trajectories)
    tables : for the step dt
    """
    sites, _, trajectories = z.shape
    s, p = np.empty((sites, 3, trajectories)), np.empty((sites, 3, trajectories))
    w, noise = np.empty((3, trajectories)), np.empty((len(tables.strength), trajectories))
    words = np.empty((4, trajectories), np.uint64)
    normals = np.empty((4, trajectories))
    step = np.uint64(0)
    _spins(s, z)
    for sample in range(len(gaps)):
        for n in range(gaps[sample]):
            if not conserving:
                _diffuse(z, tables, normals, words, dt if n else dt / 2, step, first, SPINOR, key)
                _spins(s, z)
            fill_three_point(noise, words, tables.strength, step, np.uint64(0), first, FIELD, key)
            for i in range(sites):
                _half_angle(w, s, i, tables, noise)
                _midpoint(p, s, w, i)
            for i in range(sites):
                _half_angle(w, p, i, tables, noise)
                if conserving:
                    _rotate_spin(s, w, i)
                else:
                    _rotate_spinor(z, w, i)
            step += np.uint64(1)
        if not conserving and gaps[sample] > 0:
            _diffuse(z, tables, normals, words, dt / 2, step, first, SPINOR_END, key)
            _spins(s, z)
        _measure(total[slots[sample]], s, spins, conserving, sublattice)
