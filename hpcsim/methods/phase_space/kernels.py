"""The inner loops of the phase-space method: steps of classical spins, and sums of their moments.

Arrays are (site, component, trajectory), the trajectory contiguous: spins s have the components x, y, z,
spinors z the components Re α, Im α, Re β, Im β. Lengths are read from the arrays, and rows are sliced off
as seldom as can be, since a slice costs as much as a few dozen trajectories. No fast-math anywhere: a
trajectory is the same to the last bit wherever in an array it stands.
"""
import math

import numpy as np
from numba import njit

from hpcsim.ensemble import DRAWS_PER_BLOCK, fill_three_point

# what random numbers are drawn for
INITIAL, FIELD, SPINOR, SPINOR_END, FIELD_START, FIELD_END = (np.uint64(purpose) for purpose in range(6))
# Σ over the sites of x, y, z, of their squares, of xy, yz, zx, of |s| and |s|²; squares of Σ x, Σ y, Σ z
QUANTITIES = 14
INTEGRATORS = ("sib", "eo", "euler_maruyama", "midpoint")
SIB, EO, EULER_MARUYAMA, MIDPOINT = range(4)


@njit(cache=True, error_model="numpy")
def _field(w, s, i, tables, noise):
    """w = b dt/2 on site i, (3, trajectories): noise and the field of other sites, the site's own not yet."""
    a, b, c = tables.field[i, 0], tables.field[i, 1], tables.field[i, 2]
    j, k, m = tables.draw[i, 0], tables.draw[i, 1], tables.draw[i, 2]
    for t in range(w.shape[1]):
        w[0, t] = a + noise[j, t]
        w[1, t] = b + noise[k, t]
        w[2, t] = c + noise[m, t]
    for e in range(tables.start[i], tables.start[i + 1]):
        n = tables.neighbour[e]
        a, b, c = tables.coupling[e, 0], tables.coupling[e, 1], tables.coupling[e, 2]
        if a != 0 or b != 0:
            for t in range(w.shape[1]):
                w[0, t] += a * s[n, 0, t]
                w[1, t] += b * s[n, 1, t]
        if c != 0:
            for t in range(w.shape[1]):
                w[2, t] += c * s[n, 2, t]


@njit(cache=True, error_model="numpy")
def _add_own(w, s, i, tables):
    """Add the field of the spin s[i] on itself: of its damping, and of squares of its components."""
    a, b, c, d = tables.square[i, 0], tables.square[i, 1], tables.square[i, 2], tables.damping[i]
    for t in range(w.shape[1]):
        x, y = s[i, 0, t], s[i, 1, t]
        w[0, t] += a * x - d * y
        w[1, t] += b * y + d * x
        w[2, t] += c * s[i, 2, t]


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
def _self_rotate(s, w, i, tables):
    """`_midpoint` with the own field at s_i, then `_rotate_spin` with the own field there, in one pass."""
    e, f, g, d = tables.square[i, 0], tables.square[i, 1], tables.square[i, 2], tables.damping[i]
    for t in range(w.shape[1]):
        x, y, z, u, v, r = s[i, 0, t], s[i, 1, t], s[i, 2, t], w[0, t], w[1, t], w[2, t]
        a, b, c = u + e * x - d * y, v + f * y + d * x, r + g * z
        along, scale = a * x + b * y + c * z, 1 / (1 + a * a + b * b + c * c)
        p, q = (x + b * z - c * y + a * along) * scale, (y + c * x - a * z + b * along) * scale
        a, b, c = u + e * p - d * q, v + f * q + d * p, r + g * (z + a * y - b * x + c * along) * scale
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
def _spin(s, z, i):
    """s_i = ψ† σ ψ / 2 of the spinor ψ = (α, β)."""
    for t in range(s.shape[2]):
        ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
        s[i, 0, t] = ar * br + ai * bi
        s[i, 1, t] = ar * bi - ai * br
        s[i, 2, t] = (ar * ar + ai * ai - br * br - bi * bi) / 2


@njit(cache=True)
def spins_of(s, z):
    """The spins of all spinors."""
    for i in range(len(z)):
        _spin(s, z, i)


@njit(cache=True, error_model="numpy")
def _diffuse(z, ordering, tables, normals, words, duration, step, first, purpose, key):
    """The noise of decay and pump on spinors over a duration, with the linear damping that goes with it.

    What the rotation leaves of S- at the standard rate 2κ is, with A = |α|², B = |β|² and the ordering k,

        dα = -κ(1+k)α/2 dt + sqrt(κ(1-k)(B + (1+k)/2)/2) (dW1 + i dW2),
        dβ = -κ(1-k)β/2 dt + sqrt(κ(1+k)(A - (1-k)/2)₊/2) (dW3 + i dW4)

    (huber2021, Eqs. 22, 23), and S+ the same with (α, A) and (β, B) exchanged. A and B are frozen meanwhile;
    the step is then exact and keeps the mean of A + B.
    """
    unit, more, less = np.ones(4), (1 + ordering) / 2, (1 - ordering) / 2
    for i in range(z.shape[0]):
        loss, gain = tables.loss[i] * duration, tables.gain[i] * duration
        if loss == 0 and gain == 0:
            continue
        loss_more, loss_less = 1 - math.exp(-loss * more), 1 - math.exp(-loss * less)
        gain_more, gain_less = 1 - math.exp(-gain * more), 1 - math.exp(-gain * less)
        keep_a = math.sqrt((1 - loss_more) * (1 - gain_less))
        keep_b = math.sqrt((1 - loss_less) * (1 - gain_more))
        fill_three_point(normals, words, unit, step, np.uint64(i), first, purpose, key)
        for t in range(z.shape[2]):
            ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
            A, B = ar * ar + ai * ai, br * br + bi * bi
            # (x + |x|)/2 is the positive part of x
            a = math.sqrt((loss_less * (B + more) + gain_more * (B - less + abs(B - less)) / 2) / 2)
            b = math.sqrt((gain_less * (A + more) + loss_more * (A - less + abs(A - less)) / 2) / 2)
            z[i, 0, t] = keep_a * ar + a * normals[0, t]
            z[i, 1, t] = keep_a * ai + a * normals[1, t]
            z[i, 2, t] = keep_b * br + b * normals[2, t]
            z[i, 3, t] = keep_b * bi + b * normals[3, t]


@njit(cache=True, error_model="numpy")
def _sweep(s, z, p, w, noise, words, tables, begin, end, step, first, purpose, key):
    """Turn the sites order[begin:end] one after the other, each in the field of the others as they are."""
    drawn = -1
    for place in range(begin, end):
        i = tables.order[place]
        if tables.block[i] != drawn:
            drawn = tables.block[i]
            fill_three_point(noise, words, tables.strength[drawn], step, np.uint64(drawn), first, purpose,
                             key)
        _field(w, s, i, tables, noise)
        if len(z) == 0:
            _self_rotate(s, w, i, tables)
        else:
            _add_own(w, s, i, tables)
            _midpoint(p, s, w, i)
            _field(w, s, i, tables, noise)
            _add_own(w, p, i, tables)
            _rotate_spinor(z, w, i)
            _spin(s, z, i)


@njit(cache=True, error_model="numpy")
def _euler(p, s, w, i, tables):
    """p_i = s_i + 2 w × s_i + Ito's drift, which for each component is -(power of the other two noises)/2."""
    for t in range(w.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], w[0, t], w[1, t], w[2, t]
        p[i, 0, t] = x + 2 * (b * z - c * y) - tables.ito[i, 0] * x
        p[i, 1, t] = y + 2 * (c * x - a * z) - tables.ito[i, 1] * y
        p[i, 2, t] = z + 2 * (a * y - b * x) - tables.ito[i, 2] * z


@njit(cache=True, error_model="numpy")
def _explicit(to, s, p, w, i, factor):
    """to_i = s_i + factor w × p_i."""
    for t in range(w.shape[1]):
        x, y, z, a, b, c = p[i, 0, t], p[i, 1, t], p[i, 2, t], w[0, t], w[1, t], w[2, t]
        to[i, 0, t] = s[i, 0, t] + factor * (b * z - c * y)
        to[i, 1, t] = s[i, 1, t] + factor * (c * x - a * z)
        to[i, 2, t] = s[i, 2, t] + factor * (a * y - b * x)


@njit(cache=True, error_model="numpy")
def _together(s, z, p, w, noise, words, tables, integrator, step, first, key):
    """Turn all sites at once: the field at s takes them to p; that at p, with the same noise, takes s on."""
    for stage in range(1 if integrator == EULER_MARUYAMA else 2):
        at, drawn = (p if stage else s), -1
        for i in tables.order:
            if tables.block[i] != drawn:
                drawn = tables.block[i]
                fill_three_point(noise, words, tables.strength[drawn], step, np.uint64(drawn), first, FIELD,
                                 key)
            _field(w, at, i, tables, noise)
            _add_own(w, at, i, tables)
            if integrator == EULER_MARUYAMA:
                _euler(p, s, w, i, tables)
            elif integrator == MIDPOINT and stage == 0:
                _explicit(p, s, s, w, i, 1)
            elif integrator == MIDPOINT:
                _explicit(s, s, p, w, i, 2)
            elif stage == 0:
                _midpoint(p, s, w, i)
            elif len(z) == 0:
                _rotate_spin(s, w, i)
            else:
                _rotate_spinor(z, w, i)
    if integrator == EULER_MARUYAMA:
        s[:] = p
    spins_of(s, z)


@njit(cache=True, error_model="numpy")
def advance(s, z, p, begin, steps, integrator, ordering, tables, half, dt, first, key):
    """Take the spins s, and with them the spinors z where there are any, over `steps` steps of dt, in place.

    sib : semi-implicit step of all sites together (huber2021 uses the like); any graph
    eo  : the sites of a bipartite graph in two halves, each in the frozen field of the other (Strang); the
          half steps of the first half that meet are done as one
    Both turn spins by Cayley rotations, which keep |s|. Spinors take their own noise in half steps between,
    of which those that meet are done as one.

    euler_maruyama, midpoint : explicit, without spinors, for reference: they let |s| grow

    p      : scratch like s
    begin  : number of steps done before, which with the trajectory fixes the random numbers
    tables : for the step dt; half: for dt/2
    """
    trajectories = s.shape[2]
    w, noise = np.empty((3, trajectories)), np.zeros((DRAWS_PER_BLOCK + 1, trajectories))
    words, normals = np.empty((4, trajectories), np.uint64), np.empty((4, trajectories))
    middle, sites, step = tables.first_half, len(s), begin
    for n in range(steps):
        if len(z):
            _diffuse(z, ordering, tables, normals, words, dt if n else dt / 2, step, first, SPINOR, key)
            spins_of(s, z)
        if integrator == EO:
            if n == 0 or len(z):
                _sweep(s, z, p, w, noise, words, half, 0, middle, step, first, FIELD_START, key)
            _sweep(s, z, p, w, noise, words, tables, middle, sites, step, first, FIELD, key)
            if n == steps - 1 or len(z):
                _sweep(s, z, p, w, noise, words, half, 0, middle, step, first, FIELD_END, key)
            else:
                _sweep(s, z, p, w, noise, words, tables, 0, middle, step, first, FIELD, key)
        else:
            _together(s, z, p, w, noise, words, tables, integrator, step, first, key)
        step += np.uint64(1)
    if len(z) and steps > 0:
        _diffuse(z, ordering, tables, normals, words, dt / 2, step, first, SPINOR_END, key)
        spins_of(s, z)


@njit(cache=True, error_model="numpy")
def measure(total, s, spins, conserving, ordering, sublattice, sums):
    """Add the moments of all sites to total, (QUANTITIES, sublattices, trajectories).

    Of bosons in the ordering k, ⟨Sj²⟩ is the mean of sj² + k|s|/2, for k = 0 of sj² - ⅛. The latter holds if
    |s| keeps its correlation with the direction of s, which `conserving` drops: there |s| = S + ½ for all,
    and ⟨Sj²⟩ = S(S+1) ⟨sj²⟩/|s|², which is right for both a polarised and a mixed spin. The symmetrised
    products of two components need no correction but that factor.

    sums : scratch, (3, sublattices, trajectories)
    """
    sums[:] = 0
    for i in range(s.shape[0]):
        k, S = sublattice[i], spins[i]
        weight = S * (S + 1) / (S + 0.5) ** 2 if conserving else 1.0
        shift, slope = (-0.125 if ordering == 0 and not conserving else 0.0), ordering / 2
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
