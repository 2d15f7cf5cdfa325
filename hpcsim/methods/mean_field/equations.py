"""Mean-field equations of a `System`: every spin in the field of the averages of the others.

⟨AB⟩ = ⟨A⟩⟨B⟩ for operators of different sites. With s_i = ⟨S_i⟩ and the field b of site i,

    ds/dt = b × s - damping s + (local S- and S+),   b = field + Σ_j coupling_ij s_j.

A jump operator Σ_i w_i L_i with rate γ acts on each site as the local w_i L_i, and as the Hamiltonian
-γ Im(λ* w_i L_i) with λ = Σ_{j≠i} w_j ⟨L_j⟩. On one site, spins 1/2 are exact: S- with rate γ gives
-(γ/2) s_⊥ and -γ (1/2 + s_z). Larger spins are closed as in huber2020, Appendix B, by
⟨{Sx, Sz}⟩/2 = ⟨Sx⟩⟨Sz⟩ and ⟨Sx² + Sy²⟩ = S(S+1) - ⟨Sz⟩²:

    S-:  ds_⊥/dt = -(γ/2) s_⊥ (1 - 2 s_z),   ds_z/dt = -γ [S(S+1) - s_z (s_z - 1)],
    S+:  ds_⊥/dt = -(γ/2) s_⊥ (1 + 2 s_z),   ds_z/dt = +γ [S(S+1) - s_z (s_z + 1)].

Positions in vectors of all sites are 3 site + axis.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from hpcsim.compiled import njit
from hpcsim.system import System, cartesian, piecewise
from hpcsim.system.operators import VECTORS

# Dormand and Prince (1980): 5th order, with the 4th for the error
_A = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
_C = _A.sum(axis=1)
_E = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


class Tables(NamedTuple):
    """coupling as the three arrays of a CSR matrix (3 sites, 3 sites); field, damping (3 sites,);
    down, up: rates of S- and S+, spin, (sites,)."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    field: np.ndarray
    damping: np.ndarray
    down: np.ndarray
    up: np.ndarray
    spin: np.ndarray


NUMBERS = ("data", "field", "damping", "down", "up")  # of Tables, linear in coefficients and rates


class Moving(NamedTuple):
    """Tables that depend on time: of their NUMBERS, one after the other, some are numbers[0] + Σ_a w_a(t) numbers[a].

    ahead   : of the `Drive`
    places  : (n,) of those that depend on time
    numbers : (1 + parts, n); none where nothing depends on time
    now     : all that the tables look at
    """

    curve: piecewise.Curve
    ahead: np.ndarray
    places: np.ndarray
    numbers: np.ndarray
    now: np.ndarray


STILL = Moving(piecewise.still(), np.zeros(0), np.zeros(0, int), np.zeros((0, 0)), np.zeros(0))


def couplings(system: System) -> list[tuple]:
    """(site i, axis a, site j, axis b, c): c s_jb is a part of the field b_ia. i = j is a square of a spin."""
    found = []
    for terms in cartesian(system):
        if len(terms.operators) == 2:
            a, b = ("xyz".index(name[1]) for name in terms.operators)
            for (i, j), c in zip(terms.sites.tolist(), terms.coefficients.tolist()):
                found += [(i, a, j, b, c), (j, b, i, a, c)]
    for jumps in system.jumps:
        if jumps.collective:
            v, sites, rates = np.array(VECTORS[jumps.operators[0]]), jumps.site.tolist(), jumps.rate_matrix()
            turn = -(rates[:, :, None, None] * (v[:, None] * v.conj())).imag
            found += [(sites[r], a, sites[s], b, turn[r, s, a, b]) for r, s, a, b in zip(*np.nonzero(turn)) if r != s]
    return found


def local_parts(system: System):
    """field (sites, 3), damping (sites, 3), down (sites,), up (sites,)."""
    field, damping = np.zeros((system.sites, 3)), np.zeros((system.sites, 3))
    rates = {"S-": np.zeros(system.sites), "S+": np.zeros(system.sites)}
    for terms in cartesian(system):
        if len(terms.operators) == 1:
            np.add.at(field[:, "xyz".index(terms.operators[0][1])], terms.sites[:, 0], terms.coefficients)
    for jumps in system.jumps:
        each, (name,) = jumps.totals(), jumps.operators
        if name in rates:
            np.add.at(rates[name], jumps.site, each)
        else:
            np.add.at(damping, jumps.site, each[:, None] / 2 * (1.0 - np.array(VECTORS[name])))
    return field, damping, rates["S-"], rates["S+"]


def compile_system(system: System) -> Tables:
    """Tables of every site on its own."""
    return compile_moving(system)[0]


def compile_moving(system: System) -> tuple[Tables, Moving]:
    """The same, and what changes them in time."""
    drive, size = system.drive, 3 * system.sites
    found = [_numbers(each) for each in (drive.systems if drive else (system,))]
    places = np.unique(np.concatenate([place for place, *_ in found]))
    numbers = np.zeros((len(found), len(places) + sum(map(np.size, found[0][2:]))))
    for row, (place, data, *others) in zip(numbers, found):
        np.add.at(row, np.searchsorted(places, place), data)
        row[len(places) :] = np.concatenate([each.ravel() for each in others])
    now = numbers[0].copy()
    indptr = np.searchsorted(places, size * np.arange(size + 1)).astype(np.int32)
    views = np.split(now, np.cumsum([len(places), *(each.size for each in found[0][2:])])[:-1])
    tables = Tables(indptr, (places % size).astype(np.int32), *views, system.spins.astype(float))
    if not drive:
        return tables, STILL
    changing = np.flatnonzero(np.any(numbers[1:], axis=0))
    return tables, Moving(drive.curve, drive.ahead, changing, np.ascontiguousarray(numbers[:, changing]), now)


def _numbers(system: System):
    """Places 3 sites row + column of couplings in their matrix, their values, and the other NUMBERS."""
    # the square of a component of a spin 1/2 is a number
    half, size = system.spins == 0.5, 3 * system.sites
    pairs = [p for p in couplings(system) if p[0] != p[2] or not half[p[0]]]
    i, a, j, b, c = np.array(pairs, float).reshape(-1, 5).T
    return ((3 * i + a) * size + 3 * j + b).astype(int), c, *local_parts(system)


@njit(cache=True, error_model="numpy", fastmath=True)
def _add(y, factor, x):
    """y += factor x."""
    for i in range(len(y)):
        y[i] += factor * x[i]


@njit(cache=True)
def set_time(moving, piece, time):
    """Let the tables be those of a time in this piece of the curve or a later one, at a break before that."""
    weights = np.empty(len(moving.numbers) - 1)
    piecewise.value(moving.curve, piecewise.onward(moving.curve, piece, time), time, weights)
    for n in range(len(moving.places)):
        total = moving.numbers[0, n]
        for a in range(len(weights)):
            total += weights[a] * moving.numbers[a + 1, n]
        moving.now[moving.places[n]] = total


@njit(cache=True, error_model="numpy")
def derivative(s, out, t):
    """ds/dt into out; both (3 sites,)."""
    for site in range(len(t.spin)):
        x, y, z = 3 * site, 3 * site + 1, 3 * site + 2
        bx, by, bz = t.field[x], t.field[y], t.field[z]
        for k in range(t.indptr[x], t.indptr[x + 1]):
            bx += t.data[k] * s[t.indices[k]]
        for k in range(t.indptr[y], t.indptr[y + 1]):
            by += t.data[k] * s[t.indices[k]]
        for k in range(t.indptr[z], t.indptr[z + 1]):
            bz += t.data[k] * s[t.indices[k]]
        S, down, up, m = t.spin[site], t.down[site], t.up[site], s[z]
        if S == 0.5:
            across = (down + up) / 2
            along = up * (0.5 - m) - down * (0.5 + m)
        else:
            across = down / 2 * (1 - 2 * m) + up / 2 * (1 + 2 * m)
            along = up * (S * (S + 1) - m * (m + 1)) - down * (S * (S + 1) - m * (m - 1))
        out[x] = by * s[z] - bz * s[y] - (t.damping[x] + across) * s[x]
        out[y] = bz * s[x] - bx * s[z] - (t.damping[y] + across) * s[y]
        out[z] = bx * s[y] - by * s[x] - t.damping[z] * s[z] + along


def jacobian(s, t: Tables) -> np.ndarray:
    """∂(ds/dt)/∂s: (3 sites, 3 sites)."""
    size, sites = len(s), len(t.spin)
    K = sparse.csr_matrix((t.data, t.indices, t.indptr), (size, size))
    spins, b = s.reshape(-1, 3), (t.field + K @ s).reshape(-1, 3)
    # δb × s + b × δs: the matrix of v × is [[0, -vz, vy], [vz, 0, -vx], [-vy, vx, 0]]
    J = -sparse.block_diag([_cross(v) for v in spins]) @ K + sparse.block_diag([_cross(v) for v in b])
    J = J.toarray() - np.diag(t.damping)
    at = 3 * np.arange(sites)
    x, y, z, half = *spins.T, t.spin == 0.5
    across = np.where(half, (t.down + t.up) / 2, t.down / 2 * (1 - 2 * z) + t.up / 2 * (1 + 2 * z))
    J[at, at] -= across
    J[at + 1, at + 1] -= across
    slope = np.where(half, 0, t.up - t.down)
    J[at, at + 2] -= slope * x
    J[at + 1, at + 2] -= slope * y
    J[at + 2, at + 2] -= np.where(half, t.up + t.down, t.up * (2 * z + 1) - t.down * (2 * z - 1))
    return J


def _cross(v):
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


@njit(cache=True, error_model="numpy")
def crossing(start, across, s, f, later, f_later, step):
    """Where the step from s to `later`, of slopes f, crosses the plane through `start` perpendicular to `across`.

    Bisection on the cubic of Hermite. Returns the fraction of the step, and max |s - start| there.
    """
    low, high, away = 0.0, 1.0, 0.0
    for _ in range(50):
        x = (low + high) / 2
        side, away = 0.0, 0.0
        for i in range(len(s)):
            at = (
                (1 + 2 * x) * (1 - x) ** 2 * s[i]
                + x**2 * (3 - 2 * x) * later[i]
                + step * x * (1 - x) * ((1 - x) * f[i] - x * f_later[i])
            )
            side += across[i] * (at - start[i])
            away = max(away, abs(at - start[i]))
        if side < 0:
            low = x
        else:
            high = x
    return (low + high) / 2, away


@njit(cache=True, error_model="numpy")
def advance(s, begin, duration, settled, close, tolerance, t, moving):
    """Integrate s in place for `duration`, until max |ds/dt| <= settled, or, with close > 0, until s is back.

    begin, moving : the time, and what depends on it

    It is back where it crosses the plane through its start, perpendicular to ds/dt there, in the same direction as
    then and within `close`. Returns max |ds/dt| at the end, over the time that has passed the average of s, its
    lowest and highest values, and this time if s is back, else NaN. tolerance : of each step, relative to the spin.
    """
    size = len(s)
    k, trial, difference = np.empty((7, size)), np.empty(size), np.empty(size)
    mean, low, high = np.zeros(size), s.copy(), s.copy()
    scale = np.empty(size)
    for i in range(size):
        scale[i] = tolerance * t.spin[i // 3]
    pieces, piece, at_break = len(moving.curve.coefficients), 0, False
    if pieces:
        piece = piecewise.piece_at(moving.curve, begin)
        set_time(moving, piece, begin)
    derivative(s, k[0], t)
    start, across, side = s.copy(), k[0].copy(), 0.0
    time, fastest, back = 0.0, np.abs(k[0]).max(), False
    step = 1e-3 * t.spin.max() / (fastest + 1e-12 * t.spin.max())
    while time < duration and fastest > settled and not back:
        room, at_break = duration - time, False
        if pieces:
            at_break = moving.ahead[piece] - begin <= duration
            room = min(room, max(moving.ahead[piece] - begin - time, 1e-15 * begin))
        at_break, wanted = at_break and step >= room, step
        step = min(step, room)
        for stage in range(1, 7):
            for i in range(size):  # trial[:] = s would take numba seconds to compile
                trial[i] = s[i]
            for earlier in range(stage):
                _add(trial, step * _A[stage, earlier], k[earlier])
            if pieces:
                set_time(moving, piece, begin + time + _C[stage] * step)
            derivative(trial, k[stage], t)
        difference[:] = 0.0
        for stage in range(7):
            _add(difference, step * _E[stage], k[stage])
        error = np.max(np.abs(difference) / scale)
        if error <= 1.0:
            part = 1.0
            if close > 0:
                before, side = side, np.sum(across * (trial - start))
                if before < 0 <= side:
                    part, away = crossing(start, across, s, k[0], trial, k[6], step)
                    back = away <= close
                    part = part if back else 1.0
            time += part * step
            fastest = 0.0
            for i in range(size):
                mean[i] += part * step * (s[i] + trial[i]) / 2
                s[i] = trial[i]
                low[i], high[i] = min(low[i], s[i]), max(high[i], s[i])
                k[0, i] = k[6, i]
                fastest = max(fastest, abs(k[0, i]))
            if pieces:
                reached = moving.ahead[piece] if at_break else begin + time
                while piece + 1 < pieces and reached >= moving.curve.breaks[piece + 1]:
                    piece += 1
            if at_break:  # everything may jump here
                set_time(moving, piece, begin + time)
                derivative(s, k[0], t)
        factor = min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        step = max(step * factor, wanted) if error <= 1.0 and wanted > step else step * factor
    for i in range(size):
        mean[i] = mean[i] / time if time > 0 else s[i]
    return fastest, mean, low, high, time if back else np.nan
