"""Truncated Wigner method against exact solutions, all built here with numpy alone.

Every ensemble average must lie within four of its standard errors of the exact value, plus, where it is
stated, the truncation error of relative order 1/S; `limit` guards against errors too large to tell.
"""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg
from conftest import mpirun
from mpi4py import MPI
from pydantic import ValidationError

from hpcsim import cli
from hpcsim.methods import Context, phase_space
from hpcsim.methods.phase_space import advance, kernels
from hpcsim.models import collective_spin, gain_loss_lattice, xyz_lattice
from hpcsim.observables import reduced
from hpcsim.system import Jumps, System, Terms, matrices

CONTEXT = Context(MPI.COMM_SELF, (2024, 7), lambda: False)
SCHEMES = ("spin_conserving", "pda")


# exact solutions


def spin_matrices(S):
    """Sx, Sy, Sz, S+, S- in the basis m = S, ..., -S."""
    m = np.arange(S, -S - 1, -1)
    plus = np.diag(np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1)), 1).astype(complex)
    return (plus + plus.T) / 2, (plus - plus.T) / 2j, np.diag(m).astype(complex), plus, plus.T.copy()


def coherent(S, polar, azimuth):
    """State vector of the spin coherent state in the direction [polar, azimuth] (units of π)."""
    x, y, z, *_ = spin_matrices(S)
    rotation = scipy.linalg.expm(-1j * np.pi * azimuth * z) @ scipy.linalg.expm(-1j * np.pi * polar * y)
    return rotation[:, 0]


def exact_evolution(H, jumps, psi, times):
    """ρ(t) of the master equation with the jump operators [(L, standard Lindblad rate)]."""
    jumps = [(sp.csr_matrix(L), rate) for L, rate in jumps if rate > 0]
    effective = sp.csr_matrix(H - 0.5j * sum(rate * (L.conj().T @ L).toarray() for L, rate in jumps))

    def rhs(t, v):
        rho = v.reshape(H.shape)
        half = -1j * (effective @ rho)
        flow = half + half.conj().T
        for L, rate in jumps:
            flow += rate * (L @ (L @ rho).conj().T).conj().T
        return flow.ravel()

    start = np.outer(psi, psi.conj()).ravel()
    solution = scipy.integrate.solve_ivp(rhs, (0, max(times)), start, "DOP853", times, rtol=1e-7, atol=1e-9)
    return solution.y.T.reshape(len(times), *H.shape)


def moments(rho, operators):
    """⟨Sx⟩, ⟨Sy⟩, ⟨Sz⟩, ⟨Sx²⟩, ⟨Sy²⟩, ⟨Sz²⟩."""
    squares = [o @ o for o in operators]
    return np.array([np.trace(rho @ o).real for o in (*operators, *squares)])


# ensemble averages


def average(system, **options):
    """{name: (mean, standard error)} over the records, each [sublattice, time...]; variances by jackknife."""
    options = phase_space.Options(**options)
    assert phase_space.supports(system) is None
    records = phase_space.records(system, options)
    n, runs = len(records), [phase_space.run(system, options, record, CONTEXT) for record in records]
    stacked = {name: np.array([run[name] for run in runs]) for name in runs[0]}
    out = {name: (x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(n)) for name, x in stacked.items()}
    for output in phase_space.outputs(system, options):
        if output.reduce == "function":
            out[output.name] = reduced(output, stacked.__getitem__)
    return out


def components(result, scale):
    """Means and errors of the moments (6, sublattice, time...), ⟨Sj⟩ over scale and ⟨Sj²⟩ over scale²."""
    names = ("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2")
    powers = np.array([scale] * 3 + [scale**2] * 3)
    value, error = (np.array([result[name][k] for name in names]) for k in (0, 1))
    shape = (6,) + (1,) * (value.ndim - 1)
    return value / powers.reshape(shape), error / powers.reshape(shape)


def assert_close(value, error, exact, limit, bias=0.0):
    error = 4 * np.asarray(error) + bias
    assert np.all(error < limit), f"standard errors too large to tell: 4 SE + bias = {np.max(error)}"
    assert np.all(np.abs(value - exact) < error), f"{value} against {exact}, allowed {error}"


@functools.cache
def one_spin(**params):
    return collective_spin.build(collective_spin.Params(**params))


def decay_moments(S, rate, times):
    """⟨Sz⟩ and ⟨Sz²⟩ of a spin that starts up, from the rate equations of its populations."""
    m = np.arange(S, -S - 1, -1)
    down = rate * (S * (S + 1) - m * (m - 1))
    generator = sp.diags([-down, down[:-1]], [0, -1], format="csc")
    populations = [sp.linalg.expm_multiply(generator * t, np.eye(len(m), 1).ravel()) for t in times]
    return np.array([(p @ m, p @ m**2) for p in populations]).T


# one spin


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("direction", [(0.0, 0.0), (1.0, 0.3), (0.35, 0.2), (0.6, -0.7)])
def test_initial_state_is_the_spin_coherent_state(direction, scheme):
    """⟨Sj⟩ = S n_j and ⟨Sj²⟩ = S² n_j² + S (1 - n_j²)/2, with no error of relative order 1/S."""
    S = 10
    result = average(
        one_spin(S=S), task="evolve", times=[0], scheme=scheme, initial=direction, trajectories=65536, batch=1024
    )
    polar, azimuth = np.pi * np.array(direction)
    n = np.array([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    value, error = (x[:, 0, 0] for x in components(result, S))
    assert_close(value, error, np.concatenate([n, n**2 + (1 - n**2) / (2 * S)]), limit=0.006, bias=1e-4)
    assert np.allclose(sum(value[3:]), 1 + 1 / S, atol=1e-12 if scheme == "spin_conserving" else 4e-3)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("jump, sign", [("S-", -1), ("S+", 1)])
def test_a_polarised_spin_has_no_variance(jump, sign, scheme):
    """The dark state of decay or pump, long after the start: the vacuum noise is taken off everywhere."""
    S = 10_000
    system = System(np.array([S]), (), (Jumps(jump, np.array([0]), np.array([1 / S])),))
    result = average(
        system,
        task="steady_state",
        scheme=scheme,
        initial=[0.5 - 0.49 * sign, 0],
        burn_in=10,
        duration=10,
        dt=0.05,
        sample_every=4,
        trajectories=16384,
        batch=256,
    )
    if scheme == "spin_conserving":
        assert_close(*result["Sz"], sign * S, limit=0.01, bias=0.002)
        assert_close(*result["var_Sz"], 0, limit=0.02, bias=0.002)
    # the random walk of the length drops out of the distance to it
    distance = result["spin_length"][0] - sign * result["Sz"][0]
    error = result["spin_length"][1] + result["Sz"][1]
    assert_close(distance, error, 0.5, limit=0.25, bias=0.002)
    assert_close(*result["Sx2"], S / 2, limit=100, bias=10)


@pytest.mark.parametrize("scheme, S, bias", [("spin_conserving", 50, 0.003), ("pda", 400, 0.005)])
def test_collective_decay(scheme, S, bias):
    times = [1, 2, 3]
    result = average(
        one_spin(S=S, decay=1.0),
        task="evolve",
        times=times,
        dt=0.05,
        scheme=scheme,
        initial=[0, 0],
        trajectories=16384,
        batch=256,
    )
    first, second = decay_moments(S, 1 / S, times)
    if S == 50:
        assert abs(first[1] / S - 0.4072) < 1e-4
    value, error = (x[:, 0] for x in components(result, S))
    assert_close(value[[2, 5]], error[[2, 5]], [first / S, second / S**2], limit=0.02, bias=bias)
    assert np.allclose(result["Mz"][0], result["Sz"][0][0] / S, rtol=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dephasing(scheme):
    """⟨Sx⟩ = S exp(-Γφ t) and ⟨Sz²⟩ stands still: exact at any S."""
    S, times = 10, np.array([0.5, 1.0, 2.0])
    result = average(
        one_spin(S=S, dephasing=1.0),
        task="evolve",
        times=list(times),
        dt=0.05,
        scheme=scheme,
        trajectories=32768,
        batch=512,
    )
    assert_close(result["Sx"][0][0] / S, result["Sx"][1][0] / S, np.exp(-times), limit=0.02)
    assert_close(result["Sz2"][0][0], result["Sz2"][1][0], S / 2, limit=0.3)


@pytest.mark.parametrize("drive, bias", [(0.8, 0.002), (2.0, 0.003)])
def test_driven_spin_against_closed_form(drive, bias):
    """Steady state ρ ∝ A⁻¹ A⁻¹†, A = S- + iΩS/Γ (Puri and Lawande 1979), below and above Ω = Γ."""
    S = 20
    x, y, z, _, minus = spin_matrices(S)
    inverse = np.linalg.inv(minus + 1j * drive * S * np.eye(2 * S + 1))
    rho = inverse @ inverse.conj().T
    exact = moments(rho / np.trace(rho).real, (x, y, z)) / ([S] * 3 + [S**2] * 3)
    result = average(
        one_spin(S=S, drive=drive, decay=1.0),
        task="steady_state",
        burn_in=100,
        duration=100,
        dt=0.1,
        trajectories=8192,
        batch=512,
    )
    value, error = (x[:, 0] for x in components(result, S))
    assert_close(value, error, exact, limit=0.02, bias=bias)


@pytest.mark.parametrize(
    "drive, power, times, constant, least",
    [
        (0.0, 1, [2.0], 0.06, 0.006),  # ⟨Sz⟩/S on the way down
        (0.8, 2, None, 0.4, 0.008),  # in the steady state
    ],
)
def test_truncation_error_falls_with_the_spin(drive, power, times, constant, least):
    """|error of ⟨Sz⟩/S| < constant/S^power for S = 5 ... 50, and is seen at S = 5."""
    options = (
        {"times": times, "task": "evolve", "initial": [0, 0], "trajectories": 262144}
        if times
        else {"burn_in": 20, "duration": 20, "initial": [1, 0], "trajectories": 32768}
    )
    for S in (5, 10, 20, 50):
        value, error = average(one_spin(S=S, decay=1.0, drive=drive), dt=0.05, batch=2048, **options)["Sz"]
        if times:
            exact = decay_moments(S, 1 / S, times)[0]
        else:
            weak = spin_matrices(S)[4] + 1j * drive * S * np.eye(int(2 * S + 1))
            rho = np.linalg.inv(weak) @ np.linalg.inv(weak).conj().T
            exact = np.trace(spin_matrices(S)[2] @ rho).real / np.trace(rho).real
        wrong = abs(value[0] - exact) / S
        assert 4 * error[0] / S < 0.005
        assert wrong < constant / S**power + 4 * error[0] / S
        assert S > 5 or wrong > least


def test_twisting_against_exact():
    """H = (g/2S) Sx² from all down: ⟨Sz⟩ and the second moments, among them the squeezed ones."""
    S, times = 50, [1.0, 2.0]
    x, y, z, *_ = spin_matrices(S)
    psi = coherent(S, 1, 0)
    states = [scipy.linalg.expm(-1j * t / (2 * S) * x @ x) @ psi for t in times]
    exact = np.array([moments(np.outer(v, v.conj()), (x, y, z)) for v in states]).T / S
    exact[3:] /= S
    result = average(
        one_spin(S=S, twist=1.0), task="evolve", times=times, dt=0.05, initial=[1, 0], trajectories=16384, batch=256
    )
    value, error = (x[:, 0] for x in components(result, S))
    assert_close(value, error, exact, limit=0.01, bias=0.001)


# several spins

# H = Σ_j ( field_j on each site + (J_j Sj Sj' + square_j Sj'^2) / 2S ), with the rates of jumps on both sites
FIELD = {"Sx": (0.3, 0.0), "Sy": (0.0, -0.4), "Sz": (0.25, 0.1)}
J = {"Sx": 0.6, "Sy": -0.9, "Sz": 1.3}
SQUARE = {"Sx": 0.5, "Sy": 0.0, "Sz": -0.35}
LOCAL = {"Sz": (0.1, 0.0), "Sx": (0.0, 0.12), "Sy": (0.05, 0.0)}
COLLECTIVE = {"S-": (0.4, 0.0), "S+": (0.1, 0.3)}


def two_spins(S):
    """Two unlike spins with every kind of term and jump."""
    pair, both = np.array([[0, 1], [1, 1]]), np.array([0, 1])
    fields = [Terms((j,), both[:, None], np.array(FIELD[j])) for j in FIELD]
    couplings = [Terms((j, j), pair, np.array([J[j], SQUARE[j]]) / (2 * S)) for j in J]
    jumps = [Jumps(j, both, np.array(rates)) for j, rates in LOCAL.items()]
    jumps += [Jumps(j, both, np.array(rates) / S) for j, rates in COLLECTIVE.items()]
    return System(np.full(2, S), (*fields, *couplings), tuple(jumps), sublattice=both, sublattices=("left", "right"))


def two_spins_matrices(S):
    """H, [(L, rate)] and the spin components of both sites."""
    single = dict(zip(("Sx", "Sy", "Sz", "S+", "S-"), spin_matrices(S)))
    eye = np.eye(int(2 * S + 1))
    matrix = {name: (np.kron(o, eye), np.kron(eye, o)) for name, o in single.items()}
    H = sum(
        FIELD[j][0] * a + FIELD[j][1] * b + (J[j] * a + SQUARE[j] * b) @ b / (2 * S)
        for j, (a, b) in matrix.items()
        if j in J
    )
    jumps = [(matrix[name][site], rates[site]) for name, rates in LOCAL.items() for site in (0, 1)]
    jumps += [(matrix[name][site], rates[site] / S) for name, rates in COLLECTIVE.items() for site in (0, 1)]
    return H, jumps, [[matrix[j][site] for j in ("Sx", "Sy", "Sz")] for site in (0, 1)]


def evolve_two_spins(S, times, initial, **options):
    return average(
        two_spins(S),
        task="evolve",
        times=times,
        dt=0.05,
        trajectories=32768,
        batch=512,
        initial=dict(zip(("left", "right"), initial)),
        **options,
    )


def test_two_spins_with_every_term_against_exact():
    S, times, initial = 6, (0.75, 1.5), ((0.8, 0.1), (0.3, 0.6))
    H, jumps, operators = two_spins_matrices(S)
    states = exact_evolution(H, jumps, np.kron(coherent(S, *initial[0]), coherent(S, *initial[1])), times)
    exact = np.array([[moments(rho, operators[site]) for rho in states] for site in (0, 1)])
    exact = np.moveaxis(exact, -1, 0) / np.array([S] * 3 + [S**2] * 3)[:, None, None]
    value, error = components(evolve_two_spins(S, times, initial), S)
    assert_close(value, error, exact, limit=0.025, bias=0.01)


def test_both_schemes_have_the_same_limit_of_large_spin():
    """With every term; the difference is of order 1/S, and the noise is not small: the Sz, Sx, Sy jumps."""
    S, times, initial = 4000, (0.75, 1.5), ((0.8, 0.1), (0.3, 0.6))
    (a, da), (b, db) = (components(evolve_two_spins(S, times, initial, scheme=scheme), S) for scheme in SCHEMES)
    assert_close(a, np.hypot(da, db), b, limit=0.02)


@functools.cache
def exact_dimer(S, gain, loss):
    """⟨Sz⟩ and ⟨Sz²⟩ of both spins in the steady state, from the sector of equal Sz_a + Sz_b alone."""
    x, y, z, plus, minus = (sp.csr_matrix(o) for o in spin_matrices(S))
    eye = sp.identity(2 * S + 1)
    up, down = sp.kron(plus, eye).tocsr(), sp.kron(eye, minus).tocsr()
    H = (up @ down + (up @ down).conj().T) / (2 * S)
    za, zb = sp.kron(z, eye).diagonal().real, sp.kron(eye, z).diagonal().real
    left, right = np.nonzero(np.equal.outer(za + zb, za + zb))

    def sector(a, b):
        """The map ρ -> a ρ b within the sector."""
        return sp.csr_matrix(sp.kron(a, b.T, format="csr")[left * len(za) + right][:, left * len(za) + right])

    one = sp.identity(len(za), format="csr")
    generator = -1j * (sector(H, one) - sector(one, H))
    for L, rate in ((up, gain / S), (down, loss / S)):
        LL = L.conj().T @ L
        flow = sector(L, L.conj().T.tocsr()) - (sector(LL, one) + sector(one, LL)) / 2
        generator = generator + rate * flow
    diagonal = left == right
    first = sp.csr_matrix(diagonal.astype(complex))
    rho = sp.linalg.spsolve(sp.vstack([first, generator[1:]]).tocsc(), np.eye(len(left), 1).ravel())
    p, where = rho[diagonal].real, left[diagonal]
    return np.array([[p @ za[where], p @ zb[where]], [p @ za[where] ** 2, p @ zb[where] ** 2]])


@pytest.mark.parametrize("gain, loss, first", [(0.6, 0.4, (0.7993, 0.7725)), (1.0, 1.0, (0.4901, -0.4901))])
def test_gain_loss_dimer_against_exact(gain, loss, first):
    S = 12
    exact = exact_dimer(S, gain, loss) / np.array([[S], [S**2]])
    assert np.all(np.abs(exact[0] - first) < 1e-4)
    system = gain_loss_lattice.build(gain_loss_lattice.Params(cells=1, S=S, gain=gain, loss=loss))
    result = average(system, task="steady_state", burn_in=100, duration=100, dt=0.1, trajectories=4096, batch=256)
    value, error = components(result, S)
    # the truncation errs by 0.006 at S = 12
    assert_close(value[[2, 5]], error[[2, 5]], exact, limit=0.03, bias=0.009)


@pytest.mark.parametrize("gain, loss", [(1.5, 0.1), (0.1, 1.5), (1.5, 2.0)])
def test_ordered_phases_of_the_chain_against_gaussian_theory(gain, loss):
    """n = S - |⟨Sz⟩| of huber2020 Appendix A (Eqs. A4-A14) in FM up, FM down and AM, and Var Sz = n² + n."""
    S, h = 10_000, 0.5
    P = gain * loss
    C = np.sqrt(((1 - h) ** 2 - P) * ((1 + h) ** 2 - P))
    if (1 + h) ** 2 < P:
        signs, n = (1, -1), np.array([loss, gain]) / (gain + loss) * (P / C - 1)
    elif gain > loss:
        signs, n = (1, 1), loss / (gain - loss) * (1 + np.array([P, gain**2]) / C)
    else:
        signs, n = (-1, -1), gain / (loss - gain) * (1 + np.array([loss**2, P]) / C)
    system = gain_loss_lattice.build(gain_loss_lattice.Params(cells=20, S=S, g=1, h=h, gain=gain, loss=loss))
    initial = {name: [(1 - sign) / 2, 0] for name, sign in zip("ab", signs)}
    result = average(
        system, task="steady_state", burn_in=40, duration=60, dt=0.05, trajectories=1024, batch=64, initial=initial
    )
    mean, error = result["Sz"]
    assert_close(S - np.array(signs) * mean, error, n, limit=0.06, bias=0.006)
    assert_close(*result["var_Sz"], n**2 + n, limit=0.2, bias=0.01)
    assert np.isclose(result["Mz"][0], mean.mean() / S, rtol=1e-12)


# the integrator and its noise


def test_spin_length_is_conserved_to_rounding():
    system = gain_loss_lattice.build(gain_loss_lattice.Params(cells=5, S=100, h=0.5, gain=1.5, loss=1.0))
    result = average(system, task="evolve", times=[0, 50], dt=0.1, trajectories=32, batch=16)
    length = result["spin_length"][0]
    assert np.all(np.abs(length / 100.5 - 1) < 1e-13)
    assert np.all(np.abs(result["Sz"][0][:, 1] - result["Sz"][0][:, 0]) > 1)


def test_spin_length_of_the_pda_does_a_random_walk():
    """d Var(N)/N² = (Γ/2S) ⟨S_⊥²⟩/S² dt with S_⊥ = S sech(Γt) on the way down from the equator."""
    S, times = 1000, np.array([0.5, 1.0, 2.0])
    result = average(
        one_spin(S=S, decay=1.0), task="evolve", scheme="pda", times=list(times), dt=0.05, trajectories=16384, batch=256
    )
    start = average(one_spin(S=S, decay=1.0), task="evolve", times=[0], trajectories=16384, batch=256)
    growth = (result["var_spin_length"][0] - start["var_spin_length"][0])[0] / S**2
    error = result["var_spin_length"][1][0] / S**2
    expected = np.tanh(times) / (2 * S)
    assert_close(growth / expected, error / expected, 1.0, limit=0.15, bias=0.01)
    assert_close(result["spin_length"][0][0] / S, result["spin_length"][1][0] / S, 1 + 0.5 / S, limit=0.001)


def test_step_is_of_second_order():
    """Without noise the same initial samples are taken by every dt: the error falls as dt²."""
    system = two_spins(50)
    system = dataclasses.replace(system, jumps=())
    sz = [
        average(system, task="evolve", times=[4.0], dt=dt, trajectories=64, batch=32)["Sz"][0]
        for dt in (0.2, 0.1, 0.05, 0.025)
    ]
    differences = np.diff(sz, axis=0)[:, :, 0]
    assert np.all(np.abs(differences[0]) > 1e-3)
    assert np.all(np.abs(differences[:-1] / differences[1:] - 4) < 0.3)


def test_strong_noise_is_of_second_order():
    """Pure dephasing at Γφ dt = 0.2: a first-order rotation would be 10 % off at t = 1."""
    result = average(one_spin(S=50, dephasing=1.0), task="evolve", times=[1.0], dt=0.2, trajectories=65536, batch=1024)
    assert_close(result["Sx"][0][0] / 50, result["Sx"][1][0] / 50, np.exp(-1), limit=0.03, bias=0.003)


# reproducibility


def small_chain():
    return gain_loss_lattice.build(gain_loss_lattice.Params(cells=3, S=20, h=0.5, gain=1.5, loss=1.0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_trajectory_does_not_depend_on_its_batch(scheme):
    """Each of 24 trajectories alone, in batches of 12, and all together, to the last bit."""
    # a site of its own in each sublattice: the average over sites changes nothing
    system = dataclasses.replace(small_chain(), sublattice=np.arange(6), sublattices=tuple("abcdef"))
    runs = {}
    for batch in (1, 12, 24):
        options = phase_space.Options(task="evolve", scheme=scheme, times=[0.5, 3.0], trajectories=48, batch=batch)
        runs[batch] = [phase_space.run(system, options, r, CONTEXT)["Sz"] for r in range(24 // batch)]
    alone = np.stack(runs[1], axis=-1)
    assert np.array_equal(np.ascontiguousarray(alone).mean(axis=-1), runs[24][0])
    for r, half in enumerate(runs[12]):
        assert np.array_equal(np.ascontiguousarray(alone[..., 12 * r : 12 * r + 12]).mean(axis=-1), half)
    assert not np.array_equal(runs[12][0], runs[12][1])


def test_sweeps_that_overlap_are_sweeps_one_after_the_other():
    """A large lattice is swept several times at once, as many as the number of trajectories leaves room for."""
    system = gain_loss_lattice.build(gain_loss_lattice.Params(cells=[6, 12], S=20, h=0.5, gain=1.5, loss=1.0))
    wide, narrow = (np.zeros((144, 3, trajectories)) for trajectories in (1024, 2))
    tables = phase_space.compile_system(system, "spin_conserving")
    assert tables.skew == 3
    for spins in (wide, narrow):
        spins[:, 0] = 20.5
        key = np.array([1, 2], np.uint64)
        advance.Spins(spins, None, tables, None, kernels.EO, 0, 0.05, np.uint64(0), key).advance(0, 40)
    # as many trajectories as do not fit into the cache are swept twice at once, two of them forty times
    assert np.array_equal(wide[..., :2], narrow)
    assert np.std(wide[:, 2]) > 1


def test_runs_repeat_to_the_last_bit_and_keys_differ():
    options = phase_space.Options(task="steady_state", burn_in=1, duration=2, trajectories=64, batch=32)
    first, again = (phase_space.run(small_chain(), options, 1, CONTEXT) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    other = phase_space.run(small_chain(), options, 1, Context(MPI.COMM_SELF, (2024, 8), lambda: False))
    assert not np.array_equal(first["Sz"], other["Sz"])


SHARED = """
import hashlib, numpy as np
from mpi4py import MPI
from hpcsim import cli
from hpcsim.methods import Context, phase_space
from hpcsim.models import gain_loss_lattice as model
system = model.build(model.Params(cells=3, S=20, h=0.5, gain=1.5, loss=1.0))
for scheme in ("spin_conserving", "pda"):
    options = phase_space.Options(task="evolve", scheme=scheme, times=[1.0, 3.0], trajectories=300, batch=150)
    out = phase_space.run(system, options, 1, Context(MPI.COMM_WORLD, (1, 2), lambda: False))
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(out[k]).tobytes() for k in sorted(out))).hexdigest()
    digests = MPI.COMM_WORLD.gather(digest)
    if MPI.COMM_WORLD.rank == 0:
        print("digest", *sorted(set(digests)))
"""


def test_ranks_share_a_record_with_the_same_bits(tmp_path):
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    outputs = [
        [line for line in mpirun(n, [script]).stdout.splitlines() if line.startswith("digest")] for n in (1, 2, 3)
    ]
    assert len(outputs[0]) == 2 and all(len(line.split()) == 2 for line in outputs[0])
    assert outputs[0] == outputs[1] == outputs[2]


# the contract, and bad input


@pytest.mark.parametrize(
    "options, extra",
    [
        ({"task": "steady_state", "burn_in": 1, "duration": 2}, ()),
        ({"task": "evolve", "times": {"linspace": [0, 2, 5]}}, (5,)),
    ],
)
def test_outputs_are_what_run_returns(options, extra):
    options = phase_space.Options(trajectories=32, batch=16, **options)
    system = small_chain()
    outputs = phase_space.outputs(system, options)
    result = phase_space.run(system, options, 0, CONTEXT)
    assert set(result) == {output.name for output in outputs if output.stored}
    for output in outputs:
        shape = tuple(len(dim.values) for dim in output.dims)
        names = tuple(dim.name for dim in output.dims)
        if not output.internal:
            whole = output.name in ("Mz", "burn_in_used", "truncation")
            timed = len(extra) * (output.name != "truncation")
            assert names == ("sublattice",) * (not whole) + ("time",) * timed
        assert set(output.sources) <= set(result)
        if output.stored:
            assert result[output.name].shape == shape and result[output.name].dtype == output.dtype
    assert phase_space.records(system, options) == (0, 1)
    cost = phase_space.cost(system, options, 0)
    assert cost.bytes > 0 and cost.time > 0
    assert phase_space.Options.model_validate(options.model_dump()) == options


def three_sites(*terms, jumps=()):
    return System(spins=np.full(3, 2.0), hamiltonian=terms, jumps=jumps)


@pytest.mark.parametrize(
    "system, reason",
    [
        (three_sites(Terms(("Sx", "Sz"), np.array([[0, 1], [2, 2]]), np.ones(2), True)), "term Sx_2 Sz_2"),
        (three_sites(Terms(("Sz",) * 3, np.array([[0, 1, 2]]), np.array([1.0]))), "term Sz_0 Sz_1 Sz_2"),
        (three_sites(jumps=(Jumps("S-", np.arange(3), np.ones(1), collective=True),)), "a sum of S- over 3"),
    ],
)
def test_unsupported_systems_are_named(system, reason):
    assert reason in phase_space.supports(system)


def test_terms_that_vanish_are_no_hindrance():
    zero = np.zeros(1)
    system = three_sites(
        Terms(("Sx", "Sy"), np.array([[0, 1]]), zero), jumps=(Jumps("S-", np.arange(3), zero, collective=True),)
    )
    assert phase_space.supports(system) is None
    options = phase_space.Options(task="evolve", times=[1.0], trajectories=32, batch=16)
    assert np.allclose(phase_space.run(system, options, 0, CONTEXT)["Sx"], 2, atol=0.5)


STEADY = {"task": "steady_state", "burn_in": 10, "duration": 10}
EVOLVE = {"task": "evolve", "times": [1, 2]}


@pytest.mark.parametrize(
    "values, message",
    [
        (STEADY | {"dt": 0}, "greater than 0"),
        (STEADY | {"burn_in": 0.02}, "0.02 is not a multiple of dt = 0.05"),
        (STEADY | {"duration": 0.75}, r"0.75 is not a multiple of dt \* sample_every = 0.5"),
        (STEADY | {"times": [1]}, "times belongs to task: evolve"),
        (STEADY | {"burn_in": None}, "burn_in is missing"),
        (STEADY | {"initial": [1.5, 0]}, "a direction is"),
        (STEADY | {"initial": {"a": 3}}, "a direction is"),
        (STEADY | {"scheme": "exact"}, "spin_conserving"),
        (STEADY | {"batch": 500}, "for example trajectories: 1000"),
        (EVOLVE | {"times": [1, 1.02]}, "1.02 is not a multiple of dt = 0.05"),
        (EVOLVE | {"times": [2, 1]}, "rising list"),
        (EVOLVE | {"times": []}, "rising list"),
        (EVOLVE | {"times": {"linspace": [1]}}, r"linspace = \[1\]: needs \[first, last, count\]"),
        (EVOLVE | {"times": None}, "times is missing; task: evolve requires it"),
        (EVOLVE | {"duration": 5}, "duration belongs to task: steady_state"),
        (EVOLVE | {"trajectory": 5}, "Extra inputs"),
    ],
)
def test_bad_options(values, message):
    with pytest.raises(ValidationError, match=message):
        phase_space.Options.model_validate(values)


@pytest.mark.parametrize(
    "values, message",
    [
        (STEADY | {"initial": {"a": [0, 0], "c": [0, 0]}}, "one for each of the sublattices a, b"),
        (STEADY | {"initial": {"a": [0, 0]}}, "one for each of the sublattices a, b"),
        (STEADY | {"dt": 5, "duration": 50}, "dt = 5: too large: .* use dt <= 0.07"),
    ],
)
def test_options_that_do_not_fit_the_system(values, message):
    options = phase_space.Options.model_validate(values)
    with pytest.raises(ValueError, match=message):
        phase_space.records(small_chain(), options)


# what the truncation leaves out


TRUNCATED = {
    "spin 1/2": one_spin(S=0.5, drive=1.2, decay=1.0),
    "spin 10": one_spin(S=10, drive=1.2, decay=1.0),
    "ring of 4": xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=0.3, Jy=0.5, Jz=1.0)),
    "dimer": gain_loss_lattice.build(gain_loss_lattice.Params(S=0.5, gain=0.6, loss=0.4)),
    "two cells": gain_loss_lattice.build(gain_loss_lattice.Params(cells=2, S=0.5, gain=1.5, loss=1.0, h=0.5)),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncation_is_told_with_its_size(name):
    """The estimate against the true error of the steady state, within a factor of four; a rotation has none."""
    system, S = TRUNCATED[name], TRUNCATED[name].spins[0]
    result = average(system, burn_in=40, duration=100, trajectories=1024, batch=64)
    liouvillian = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    liouvillian[0] = np.eye(D := round(system.dimension)).ravel()
    rho = np.linalg.solve(liouvillian, np.eye(D * D)[0]).reshape(D, D, order="F")
    errors, noise = [], []
    for a in "xyz":
        sites = np.array([np.trace(matrices.site_operator(system, f"S{a}", i) @ rho).real for i in range(system.sites)])
        exact = [sites[system.sublattice == k].mean() for k in range(len(system.sublattices))]
        errors.append(np.abs(result[f"S{a}"][0] - exact).max() / S)
        noise.append(result[f"S{a}"][1].max() / S)
    estimate, of_records = result["truncation"]
    assert of_records == 0  # once for all of them
    assert 0.25 < (max(errors) + 0.002) / (estimate + 0.002) < 4 and max(noise) < 0.01
    told = phase_space.warnings(system, phase_space.Options(burn_in=40, duration=100))
    assert (len(told) == 1) == (estimate > 0.02) == (S < 5)
    assert not told or f"an error of about {estimate:.1g}"[:-1] in told[0]


def test_no_truncation_error_is_told_where_there_is_none():
    """Dephasing and rotations are exact in every representation."""
    options = dict(task="evolve", times=[1.0, 2.0], trajectories=64, batch=32)
    assert average(one_spin(S=2, dephasing=0.5, drive=1.0), **options)["truncation"][0] < 0.02


def test_check_and_the_log_tell_of_the_truncation(tmp_path, capsys, caplog):
    (tmp_path / "c.yaml").write_text(
        "title: t\nmodel: {name: collective_spin, S: 0.5, drive: 1.2, decay: 1.0}\n"
        "method: {name: phase_space, burn_in: 5, duration: 10, trajectories: 32, batch: 16}\n"
        "sweep: [{model.S: [0.5, 30]}]\n"
    )
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(told) == 1 and "the truncation leaves an error of about 0.2" in told[0] and "'model.S': 0.5" in told[0]
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "c.h5")]) == 0
    assert sum("the truncation leaves an error" in record.message for record in caplog.records) == 1
