"""The inner loops of the phase-space method: steps of classical spins, and sums of their moments.

Arrays are (site, component, trajectory), the trajectory contiguous: spins s have the components x, y, z,
spinors z the components Re α, Im α, Re β, Im β. Lengths are read from the arrays, and rows are sliced off
as seldom as can be, since a slice costs as much as a few dozen trajectories. No fast-math anywhere: a
trajectory is the same to the last bit wherever in an array it stands.
"""

import math

import numpy as np

from hpcsim.compiled import njit
from hpcsim.ensemble.streams import DRAWS_PER_BLOCK, fill_three_point

# what random numbers are drawn for
INITIAL, FIELD, SPINOR, SPINOR_END, FIELD_START, FIELD_END = (np.uint64(purpose) for purpose in range(6))
# Σ over the sites of x, y, z, of their squares, of xy, yz, zx, of |s| and |s|²; squares of Σ x, Σ y, Σ z
QUANTITIES = 14
# rows of random numbers, then one of zeros, then three for a field summed up; bytes of a cache to stay in
SUM, CACHE = DRAWS_PER_BLOCK + 1, 400_000
INTEGRATORS = ("sib", "eo", "euler_maruyama", "midpoint")
SIB, EO, EULER_MARUYAMA, MIDPOINT = range(4)
# of a function inlined for good: a call would copy every table's shape and strides
INLINE = {"cache": True, "error_model": "numpy", "forceinline": True}


@njit(**INLINE)
def _collect(rows, s, i, tables, first, last):
    """Rows SUM, SUM+1, SUM+2: w = b dt/2 on site i from noise and the couplings first:last, its own field not yet."""
    a, b, c = tables.field[i, 0], tables.field[i, 1], tables.field[i, 2]
    j, k, m = tables.draw[i, 0], tables.draw[i, 1], tables.draw[i, 2]
    for t in range(rows.shape[1]):
        rows[SUM, t] = a + rows[j, t]
        rows[SUM + 1, t] = b + rows[k, t]
        rows[SUM + 2, t] = c + rows[m, t]
    for e in range(first, last, 2):
        n, a, b, c = tables.neighbour[e], tables.coupling[e, 0], tables.coupling[e, 1], tables.coupling[e, 2]
        o, f, g, h = (
            tables.neighbour[e + 1],
            tables.coupling[e + 1, 0],
            tables.coupling[e + 1, 1],
            tables.coupling[e + 1, 2],
        )
        for t in range(rows.shape[1]):
            rows[SUM, t] += a * s[n, 0, t] + f * s[o, 0, t]
            rows[SUM + 1, t] += b * s[n, 1, t] + g * s[o, 1, t]
            rows[SUM + 2, t] += c * s[n, 2, t] + h * s[o, 2, t]


@njit(**INLINE)
def _add_cross(rows, s, i, tables):
    """Add the field of couplings of different components."""
    for e in range(tables.cross_start[i], tables.cross_start[i + 1]):
        to, other, n, c = tables.cross_axes[e, 0], tables.cross_axes[e, 1], tables.cross_neighbour[e], tables.cross[e]
        for t in range(rows.shape[1]):
            rows[SUM + to, t] += c * s[n, other, t]


@njit(**INLINE)
def _add_own(rows, s, i, tables):
    """Add the field of the spin s[i] on itself: of its damping, and of squares of its components."""
    a, b, c, d = tables.square[i, 0], tables.square[i, 1], tables.square[i, 2], tables.damping[i]
    for t in range(rows.shape[1]):
        x, y = s[i, 0, t], s[i, 1, t]
        rows[SUM, t] += a * x - d * y
        rows[SUM + 1, t] += b * y + d * x
        rows[SUM + 2, t] += c * s[i, 2, t]


@njit(**INLINE)
def _midpoint(p, s, rows, i):
    """p_i = (s_i + s_i')/2, where s_i' is the Cayley rotation of s_i by w = b dt/2."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        along, scale = a * x + b * y + c * z, 1 / (1 + a * a + b * b + c * c)
        p[i, 0, t] = (x + b * z - c * y + a * along) * scale
        p[i, 1, t] = (y + c * x - a * z + b * along) * scale
        p[i, 2, t] = (z + a * y - b * x + c * along) * scale


@njit(**INLINE)
def _rotate_spin(s, rows, i):
    """The Cayley rotation itself, in place: s_i' = 2 p_i - s_i."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        along, scale = a * x + b * y + c * z, 2 / (1 + a * a + b * b + c * c)
        s[i, 0, t] = (x + b * z - c * y + a * along) * scale - x
        s[i, 1, t] = (y + c * x - a * z + b * along) * scale - y
        s[i, 2, t] = (z + a * y - b * x + c * along) * scale - z


@njit(**INLINE)
def _turn(s, rows, i, tables):
    """Rotate s_i in the field of the others: `_midpoint` with the own field at s_i, the rotation with that at p_i.

    All in one pass over the trajectories. The midpoint has 1 - w² + w⁴ for 1/(1 + w²), which spares a division
    and keeps the order of the step; the rotation itself is exact.
    """
    e = tables.start[i + 1] - 2
    j, k, m = tables.draw[i, 0], tables.draw[i, 1], tables.draw[i, 2]
    f, g, h = tables.field[i, 0], tables.field[i, 1], tables.field[i, 2]
    if e > tables.start[i] or tables.cross_start[i + 1] > tables.cross_start[i]:
        _collect(rows, s, i, tables, tables.start[i], e)
        _add_cross(rows, s, i, tables)
        j, k, m, f, g, h = SUM, SUM + 1, SUM + 2, 0.0, 0.0, 0.0
    n, na, nb, nc = tables.neighbour[e], tables.coupling[e, 0], tables.coupling[e, 1], tables.coupling[e, 2]
    o, oa, ob, oc = (
        tables.neighbour[e + 1],
        tables.coupling[e + 1, 0],
        tables.coupling[e + 1, 1],
        tables.coupling[e + 1, 2],
    )
    xx, yy, zz, d = tables.square[i, 0], tables.square[i, 1], tables.square[i, 2], tables.damping[i]
    for t in range(rows.shape[1]):
        x, y, z = s[i, 0, t], s[i, 1, t], s[i, 2, t]
        u = f + rows[j, t] + na * s[n, 0, t] + oa * s[o, 0, t]
        v = g + rows[k, t] + nb * s[n, 1, t] + ob * s[o, 1, t]
        r = h + rows[m, t] + nc * s[n, 2, t] + oc * s[o, 2, t]
        a, b, c = u + xx * x - d * y, v + yy * y + d * x, r + zz * z
        along, w2 = a * x + b * y + c * z, a * a + b * b + c * c
        scale = 1 - w2 * (1 - w2)
        p, q = (x + b * z - c * y + a * along) * scale, (y + c * x - a * z + b * along) * scale
        a, b, c = u + xx * p - d * q, v + yy * q + d * p, r + zz * (z + a * y - b * x + c * along) * scale
        along, scale = a * x + b * y + c * z, 2 / (1 + a * a + b * b + c * c)
        s[i, 0, t] = (x + b * z - c * y + a * along) * scale - x
        s[i, 1, t] = (y + c * x - a * z + b * along) * scale - y
        s[i, 2, t] = (z + a * y - b * x + c * along) * scale - z


@njit(**INLINE)
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


@njit(**INLINE)
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
def diffuse(z, ordering, tables, normals, words, duration, step, first, purpose, key):
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
def turn_halves(s, z, p, rows, words, tables, first_sweep, last_sweep, begin, first, purpose, key):
    """Sweeps first_sweep:last_sweep, each turns one half of the sites in the field of the other as it is.

    Sweep k turns the first half if k is even and belongs to step (k - 1)/2, rounded down. A spin's neighbours are
    at most `skew` blocks away, so that sweep k may follow k - 1 by as many blocks: several sweeps go over the
    sites at once, as many as need spins that fit into a cache, with the same result as one after the other.
    """
    nearby = CACHE // (s.shape[2] * s.itemsize * 3 * 2 * DRAWS_PER_BLOCK // 2 * tables.skew)
    most = max(tables.first_half, len(tables.begin) - 1 - tables.first_half)
    for start in range(first_sweep, last_sweep, max(2, nearby)):
        sweeps = min(max(2, nearby), last_sweep - start)
        for front in range(most + (sweeps - 1) * tables.skew):
            for k in range(max(0, (front - most) // tables.skew + 1), min(sweeps - 1, front // tables.skew) + 1):
                other, step = (start + k) % 2, begin + np.uint64(max(0, start + k - 1) // 2)
                block = front - k * tables.skew + other * tables.first_half
                if block < (len(tables.begin) - 1 if other else tables.first_half):
                    _turn_block(s, z, p, rows, words, tables, block, step, first, purpose, key)


@njit(**INLINE)
def _turn_block(s, z, p, rows, words, tables, block, step, first, purpose, key):
    """Turn the sites of one block of random numbers, one after the other."""
    fill_three_point(rows, words, tables.strength[block], step, np.uint64(block), first, purpose, key)
    for place in range(tables.begin[block], tables.begin[block + 1]):
        i = tables.order[place]
        if len(z) == 0:
            _turn(s, rows, i, tables)
        else:
            _collect(rows, s, i, tables, tables.start[i], tables.start[i + 1])
            _add_cross(rows, s, i, tables)
            _add_own(rows, s, i, tables)
            _midpoint(p, s, rows, i)
            _collect(rows, s, i, tables, tables.start[i], tables.start[i + 1])
            _add_cross(rows, s, i, tables)
            _add_own(rows, p, i, tables)
            _rotate_spinor(z, rows, i)
            _spin(s, z, i)


@njit(**INLINE)
def _euler(p, s, rows, i, tables):
    """p_i = s_i + 2 w × s_i + Ito's drift, which for each component is -(power of the other two noises)/2."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = s[i, 0, t], s[i, 1, t], s[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        p[i, 0, t] = x + 2 * (b * z - c * y) - tables.ito[i, 0] * x
        p[i, 1, t] = y + 2 * (c * x - a * z) - tables.ito[i, 1] * y
        p[i, 2, t] = z + 2 * (a * y - b * x) - tables.ito[i, 2] * z


@njit(**INLINE)
def _explicit(to, s, p, rows, i, factor):
    """to_i = s_i + factor w × p_i."""
    for t in range(rows.shape[1]):
        x, y, z, a, b, c = p[i, 0, t], p[i, 1, t], p[i, 2, t], rows[SUM, t], rows[SUM + 1, t], rows[SUM + 2, t]
        to[i, 0, t] = s[i, 0, t] + factor * (b * z - c * y)
        to[i, 1, t] = s[i, 1, t] + factor * (c * x - a * z)
        to[i, 2, t] = s[i, 2, t] + factor * (a * y - b * x)


@njit(cache=True, error_model="numpy")
def turn_all(s, z, p, rows, words, tables, integrator, step, first, key):
    """Turn all sites at once: the field at s takes them to p; that at p, with the same noise, takes s on."""
    for stage in range(1 if integrator == EULER_MARUYAMA else 2):
        at = p if stage else s
        for block in range(len(tables.begin) - 1):
            fill_three_point(rows, words, tables.strength[block], step, np.uint64(block), first, FIELD, key)
            for place in range(tables.begin[block], tables.begin[block + 1]):
                i = tables.order[place]
                _collect(rows, at, i, tables, tables.start[i], tables.start[i + 1])
                _add_cross(rows, at, i, tables)
                _add_own(rows, at, i, tables)
                if integrator == EULER_MARUYAMA:
                    _euler(p, s, rows, i, tables)
                elif integrator == MIDPOINT and stage == 0:
                    _explicit(p, s, s, rows, i, 1.0)
                elif integrator == MIDPOINT:
                    _explicit(s, s, p, rows, i, 2.0)
                elif stage == 0:
                    _midpoint(p, s, rows, i)
                elif len(z) == 0:
                    _rotate_spin(s, rows, i)
                else:
                    _rotate_spinor(z, rows, i)
    if integrator == EULER_MARUYAMA:
        for i in range(s.shape[0]):
            for component in range(3):
                for t in range(s.shape[2]):  # s[:] = p would take numba seconds to compile
                    s[i, component, t] = p[i, component, t]
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
    rows, words = np.zeros((SUM + 3, trajectories)), np.empty((4, trajectories), np.uint64)
    normals = np.empty((4, trajectories))
    together = max(1, steps) if integrator == EO and len(z) == 0 else 1
    for n in range(0, steps, together):
        step = begin + np.uint64(n)
        if len(z):
            diffuse(z, ordering, tables, normals, words, dt if n else dt / 2, step, first, SPINOR, key)
            spins_of(s, z)
        if integrator == EO:
            # half a step of the first half of the sites, whole steps, half a step: a loop, to be compiled once
            sweeps, purposes = (0, 1, 2 * together, 2 * together + 1), (FIELD_START, FIELD, FIELD_END)
            for k in range(3):
                times = tables if k == 1 else half
                turn_halves(s, z, p, rows, words, times, sweeps[k], sweeps[k + 1], step, first, purposes[k], key)
        else:
            turn_all(s, z, p, rows, words, tables, integrator, step, first, key)
    if len(z) and steps > 0:
        diffuse(z, ordering, tables, normals, words, dt / 2, begin + np.uint64(steps - 1), first, SPINOR_END, key)
        spins_of(s, z)


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
    sums[:] = 0
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


class Spins:
    """The spins of some trajectories and how they go on: advance(begin, steps), spins() -> (sites, 3, trajectories).

    spins, spinors : where they start; spinors are (0, 4, trajectories) where the spins move by themselves
    whole, half    : tables of a step dt and of half of it
    """

    def __init__(self, spins, spinors, whole, half, integrator, ordering, dt, first, key):
        self._spins, self._spinors, self._tables = spins, spinors, (whole, half)
        self._how, self._dt, self._which = (integrator, float(ordering)), dt, (first, key)
        alone = len(spinors) == 0 and integrator == EO
        self._scratch = np.empty((0 if alone else len(spins), 3, spins.shape[2]))

    def advance(self, begin: int, steps: int):
        """Take `steps` steps, of which `begin` were taken before."""
        state = self._spins, self._spinors, self._scratch
        advance(*state, np.uint64(begin), steps, *self._how, *self._tables, self._dt, *self._which)

    def spins(self) -> np.ndarray:
        return self._spins
