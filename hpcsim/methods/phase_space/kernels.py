"""The inner loops of the phase-space method: steps of classical spins.

Arrays are (site, component, trajectory), the trajectory contiguous: spins s have the components x, y, z,
spinors z the components Re α, Im α, Re β, Im β. Lengths are read from the arrays, and rows are sliced off
as seldom as can be, since a slice costs as much as a few dozen trajectories. Loops over trajectories are short
enough for several of their turns to be in flight at once, and none writes what it reads of another site, which would
keep it from being vectorised. Products may be added without rounding, but no order of operations changes: a
trajectory is the same to the last bit wherever in an array it stands.
"""

import math

import numpy as np

from hpcsim.compiled import INLINE, PART, njit
from hpcsim.ensemble.streams import DRAWS_PER_BLOCK, fill_three_point

# what random numbers are drawn for
INITIAL, FIELD, SPINOR, SPINOR_END, FIELD_START, FIELD_END = (np.uint64(purpose) for purpose in range(6))
# rows of random numbers, then one of zeros, then three for a field summed up; bytes of a cache to stay in
SUM, CACHE = DRAWS_PER_BLOCK + 1, 400_000
INTEGRATORS = ("sib", "eo", "euler_maruyama", "midpoint")
SIB, EO, EULER_MARUYAMA, MIDPOINT = range(4)
KERNEL = {"error_model": "numpy", "fastmath": {"contract"}}
# of what is inlined for good: a call would copy every table's shape and strides
LEAF = KERNEL | PART | {"forceinline": True}


@njit(**INLINE)
def _coupled(tables, which, e):
    """A neighbour and the coupling to it."""
    return tables.neighbour[e], tables.coupling[which, e, 0], tables.coupling[which, e, 1], tables.coupling[which, e, 2]


@njit(**LEAF)
def collect(rows, s, i, tables, which):
    """Rows SUM, SUM+1, SUM+2: w = b dt/2 on site i from noise and couplings, its own field not yet."""
    j, k, m = tables.draw[i, 0], tables.draw[i, 1], tables.draw[i, 2]
    x, y, z = tables.field[which, i, 0], tables.field[which, i, 1], tables.field[which, i, 2]
    first = tables.start[i]
    n, a, b, c = _coupled(tables, which, first)
    o, f, g, h = _coupled(tables, which, first + 1)
    for t in range(rows.shape[1]):
        rows[SUM, t] = x + rows[j, t] + a * s[n, 0, t] + f * s[o, 0, t]
        rows[SUM + 1, t] = y + rows[k, t] + b * s[n, 1, t] + g * s[o, 1, t]
        rows[SUM + 2, t] = z + rows[m, t] + c * s[n, 2, t] + h * s[o, 2, t]
    for e in range(first + 2, tables.start[i + 1], 2):
        n, a, b, c = _coupled(tables, which, e)
        o, f, g, h = _coupled(tables, which, e + 1)
        for t in range(rows.shape[1]):
            rows[SUM, t] += a * s[n, 0, t] + f * s[o, 0, t]
            rows[SUM + 1, t] += b * s[n, 1, t] + g * s[o, 1, t]
            rows[SUM + 2, t] += c * s[n, 2, t] + h * s[o, 2, t]
    # couplings of different components
    for e in range(tables.cross_start[i], tables.cross_start[i + 1]):
        to, other, n = tables.cross_axes[e, 0], tables.cross_axes[e, 1], tables.cross_neighbour[e]
        c = tables.cross[which, e]
        for t in range(rows.shape[1]):
            rows[SUM + to, t] += c * s[n, other, t]


@njit(**INLINE)
def _own(tables, which, i):
    """What multiplies a site's own components in the field on it: squares, and damping."""
    return tables.square[which, i, 0], tables.square[which, i, 1], tables.square[which, i, 2], tables.damping[which, i]


@njit(**LEAF)
def add_own(rows, s, i, tables, which):
    """Add the field of the spin s[i] on itself: of its damping, and of squares of its components."""
    a, b, c, d = _own(tables, which, i)
    for t in range(rows.shape[1]):
        x, y = s[i, 0, t], s[i, 1, t]
        rows[SUM, t] += a * x - d * y
        rows[SUM + 1, t] += b * y + d * x
        rows[SUM + 2, t] += c * s[i, 2, t]


@njit(**LEAF)
def _midpoint(p, s, rows, i):
    """p_i = (s_i + s_i')/2, where s_i' is the Cayley rotation of s_i by w = b dt/2."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        along, scale = a * x + b * y + c * z, 1 / (1 + a * a + b * b + c * c)
        p[i, 0, t] = (x + b * z - c * y + a * along) * scale
        p[i, 1, t] = (y + c * x - a * z + b * along) * scale
        p[i, 2, t] = (z + a * y - b * x + c * along) * scale


@njit(**LEAF)
def rotate(s, rows, i):
    """The Cayley rotation itself, in place: s_i' = 2 p_i - s_i."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        along, scale = a * x + b * y + c * z, 2 / (1 + a * a + b * b + c * c)
        s[i, 0, t] = (x + b * z - c * y + a * along) * scale - x
        s[i, 1, t] = (y + c * x - a * z + b * along) * scale - y
        s[i, 2, t] = (z + a * y - b * x + c * along) * scale - z


@njit(**LEAF)
def own_at_midpoint(rows, s, i, tables, which):
    """Add the field of a spin on itself, at the midpoint of its rotation in the field with that at s_i.

    The midpoint has 1 - w² + w⁴ for 1/(1 + w²), which spares a division and keeps the order of the step.
    """
    xx, yy, zz, d = _own(tables, which, i)
    for t in range(rows.shape[1]):
        x, y, z, u, v, r = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        a, b, c = u + xx * x - d * y, v + yy * y + d * x, r + zz * z
        along, w2 = a * x + b * y + c * z, a * a + b * b + c * c
        scale = 1 - w2 * (1 - w2)
        p, q = (x + b * z - c * y + a * along) * scale, (y + c * x - a * z + b * along) * scale
        rows[SUM, t] = u + xx * p - d * q
        rows[SUM + 1, t] = v + yy * q + d * p
        rows[SUM + 2, t] = r + zz * (z + a * y - b * x + c * along) * scale


@njit(**LEAF)
def damping_at_midpoint(rows, s, i, tables, which):
    """The same without squares of components: the component z of the midpoint does not matter."""
    d = tables.damping[which, i]
    for t in range(rows.shape[1]):
        x, y, z, u, v, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        a, b = u - d * y, v + d * x
        along, w2 = a * x + b * y + c * z, a * a + b * b + c * c
        scale = d - d * w2 * (1 - w2)
        rows[SUM, t] = u - (y + c * x - a * z + b * along) * scale
        rows[SUM + 1, t] = v + (x + b * z - c * y + a * along) * scale


@njit(**LEAF)
def _rotate_spinor(z, rows, i):
    """The same rotation of a spinor: (1 - i w·σ) / sqrt(1 + w²)."""
    for t in range(rows.shape[1]):
        ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
        x, y, c = rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        scale = 1 / math.sqrt(1 + x * x + y * y + c * c)
        z[i, 0, t] = (ar + c * ai + x * bi - y * br) * scale
        z[i, 1, t] = (ai - c * ar - x * br - y * bi) * scale
        z[i, 2, t] = (br + x * ai + y * ar - c * bi) * scale
        z[i, 3, t] = (bi - x * ar + y * ai + c * br) * scale


@njit(**LEAF)
def _spin(s, z, i):
    """s_i = ψ† σ ψ / 2 of the spinor ψ = (α, β)."""
    for t in range(s.shape[2]):
        ar, ai, br, bi = z[i, 0, t], z[i, 1, t], z[i, 2, t], z[i, 3, t]
        s[i, 0, t] = ar * br + ai * bi
        s[i, 1, t] = ar * bi - ai * br
        s[i, 2, t] = (ar * ar + ai * ai - br * br - bi * bi) / 2


@njit(**KERNEL)
def spins_of(s, z):
    """The spins of all spinors."""
    for i in range(len(z)):
        _spin(s, z, i)


@njit(**INLINE)
def diffuse(s, z, ordering, tables, normals, words, duration, step, first, purpose, key):
    """The noise of decay and pump on spinors over a duration, with the linear damping that goes with it; their spins.

    What the rotation leaves of S- at the standard rate 2κ is, with A = |α|², B = |β|² and the ordering k,

        dα = -κ(1+k)α/2 dt + sqrt(κ(1-k)(B + (1+k)/2)/2) (dW1 + i dW2),
        dβ = -κ(1-k)β/2 dt + sqrt(κ(1+k)(A - (1-k)/2)₊/2) (dW3 + i dW4)

    (huber2021, Eqs. 22, 23), and S+ the same with (α, A) and (β, B) exchanged. A and B are frozen meanwhile;
    the step is then exact and keeps the mean of A + B.
    """
    unit, more, less = np.ones(4), (1 + ordering) / 2, (1 - ordering) / 2
    for i in range(z.shape[0]):
        loss, gain = tables.loss[i] * duration, tables.gain[i] * duration
        if loss != 0 or gain != 0:
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
        _spin(s, z, i)


@njit(**INLINE)
def _turn_block(s, z, p, rows, words, tables, which, block, step, first, purpose, key):
    """Turn the sites of one block of random numbers, one after the other; z, p : None, or spinors and scratch."""
    fill_three_point(rows, words, tables.strength[which, block], step, np.uint64(block), first, purpose, key)
    for place in range(tables.begin[block], tables.begin[block + 1]):
        i = tables.order[place]
        collect(rows, s, i, tables, which)
        if z is None:
            xx, yy, zz, _ = _own(tables, which, i)
            if xx == 0 and yy == 0 and zz == 0:
                damping_at_midpoint(rows, s, i, tables, which)
            else:
                own_at_midpoint(rows, s, i, tables, which)
            rotate(s, rows, i)
        else:
            add_own(rows, s, i, tables, which)
            _midpoint(p, s, rows, i)
            collect(rows, s, i, tables, which)
            add_own(rows, p, i, tables, which)
            _rotate_spinor(z, rows, i)
            _spin(s, z, i)


@njit(**INLINE)
def turn_halves(s, z, p, rows, words, tables, sweep, end, last, begin, first, key):
    """Sweeps sweep:end of 0 ... last, each turns one half of the sites in the field of the other as it is.

    Sweep k turns the first half if k is even and belongs to step begin + (k - 1)/2, rounded down. The first and the
    last take half a step. A spin's neighbours are at most `skew` blocks away, so that sweep k may follow k - 1 by as
    many blocks: several sweeps go over the sites at once, as many as need spins that fit into a cache, with the same
    result as one after the other.
    """
    nearby = max(2, CACHE // (s.shape[2] * s.itemsize * 3 * 2 * DRAWS_PER_BLOCK // 2 * tables.skew))
    most = max(tables.first_half, len(tables.begin) - 1 - tables.first_half)
    for start in range(sweep, end, nearby):
        sweeps = min(nearby, end - start)
        for front in range(most + (sweeps - 1) * tables.skew):
            for k in range(max(0, (front - most) // tables.skew + 1), min(sweeps - 1, front // tables.skew) + 1):
                now, other = start + k, (start + k) % 2
                block = front - k * tables.skew + other * tables.first_half
                if block < (len(tables.begin) - 1 if other else tables.first_half):
                    step, purpose, which = begin + np.uint64(max(0, now - 1) // 2), FIELD, 0
                    if now == 0 or now == last:
                        purpose, which = FIELD_END if now else FIELD_START, len(tables.damping) - 1
                    _turn_block(s, z, p, rows, words, tables, which, block, step, first, purpose, key)


@njit(**INLINE)
def turn_all(s, z, p, rows, words, tables, step, first, key):
    """Turn all sites at once: the field at s takes them to p; that at p, with the same noise, takes s, or z, on."""
    for stage in range(2):
        for block in range(len(tables.begin) - 1):
            fill_three_point(rows, words, tables.strength[0, block], step, np.uint64(block), first, FIELD, key)
            for place in range(tables.begin[block], tables.begin[block + 1]):
                i = tables.order[place]
                at = p if stage else s
                collect(rows, at, i, tables, 0)
                add_own(rows, at, i, tables, 0)
                if stage == 0:
                    _midpoint(p, s, rows, i)
                elif z is None:
                    rotate(s, rows, i)
                else:
                    _rotate_spinor(z, rows, i)
