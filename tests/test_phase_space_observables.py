"""Observables of the phase-space method, its representations and its integrators, against exact results."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg
from pydantic import ValidationError
from test_phase_space import (
    CONTEXT,
    assert_close,
    average,
    coherent,
    components,
    decay_moments,
    moments,
    one_spin,
    small_chain,
    spin_matrices,
    two_spins,
)

from hpcsim.methods import phase_space
from hpcsim.methods.phase_space.observables import Correlation, Ordering, StructureFactor
from hpcsim.models import gain_loss_lattice, xyz_lattice
from hpcsim.observables import Output, reduced
from hpcsim.observables.correlations import falls_to

REPRESENTATIONS = ("P", "wigner", "Q")


# representations


@pytest.mark.parametrize(
    "representation, sampling", [("P", "fock"), ("wigner", "fock"), ("wigner", "coherent"), ("Q", "fock")]
)
def test_initial_states(representation, sampling):
    """Means are exact; P and the coherent Wigner state have 2S Poissonian, so ⟨Sj²⟩ too large by S n_j²/2."""
    S, direction = 10, (0.35, 0.2)
    result = average(
        one_spin(S=S),
        task="evolve",
        times=[0],
        scheme="pda",
        representation=representation,
        sampling=sampling,
        initial=direction,
        trajectories=65536,
        batch=1024,
    )
    polar, azimuth = np.pi * np.array(direction)
    n = np.array([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    second = n**2 + (1 - n**2) / (2 * S)
    if representation == "P" or sampling == "coherent":
        second = second + n**2 / (2 * S)
    value, error = (x[:, 0, 0] for x in components(result, S))
    if representation == "P":
        assert np.all(error < 1e-12)
    assert_close(value, error, np.concatenate([n, second]), limit=0.012, bias=1e-6)


def test_q_of_spin_one_half_has_the_variance_of_its_gamma_distribution():
    """|α|² + |β|² has mean 2S + 2 and variance (2S + 1) + 1, and the spin length is half of it."""
    result = average(
        one_spin(S=0.5),
        task="evolve",
        times=[0],
        scheme="pda",
        representation="Q",
        initial=(0.3, 0.1),
        trajectories=262144,
        batch=4096,
    )
    assert_close(*(x[0, 0] for x in result["spin_length"]), 1.5, limit=0.01)
    assert_close(*(x[0, 0] for x in result["var_spin_length"]), 0.75, limit=0.03)
    value, error = (x[:, 0, 0] for x in components(result, 1))
    assert_close(value[2], error[2], np.cos(0.3 * np.pi) / 2, limit=0.01)
    assert_close(value[3:], error[3:], 0.25, limit=0.03)


# ⟨Sz⟩/S at Γt = 2 from the state up, S = 10, as solved for each representation by an independent program
DECAY = {("P", "fock"): -0.316, ("wigner", "coherent"): -0.325, ("Q", "fock"): -0.291}


@pytest.mark.parametrize("representation, sampling", DECAY)
def test_decay_in_every_representation(representation, sampling):
    result = average(
        one_spin(S=10, decay=1.0),
        task="evolve",
        times=[2.0],
        dt=0.02,
        scheme="pda",
        initial=[0, 0],
        representation=representation,
        sampling=sampling,
        trajectories=65536,
        batch=1024,
    )
    value, error = (x[0, 0] / 10 for x in result["Sz"])
    assert_close(value, error, DECAY[representation, sampling], limit=0.02, bias=0.004)
    # the mean number of bosons is conserved
    length, error = (x[0, 0] for x in result["spin_length"])
    assert_close(length, error, 10 + {"P": 0, "wigner": 0.5, "Q": 1}[representation], limit=0.1)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_decay_becomes_exact_at_large_spin(representation):
    S, times = 400, [2.0, 3.0]
    result = average(
        one_spin(S=S, decay=1.0),
        task="evolve",
        times=times,
        dt=0.05,
        scheme="pda",
        initial=[0, 0],
        representation=representation,
        trajectories=16384,
        batch=256,
    )
    value, error = (x[0] / S for x in result["Sz"])
    assert_close(value, error, decay_moments(S, 1 / S, times)[0] / S, limit=0.025, bias=0.006)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_dephasing_is_exact_in_every_representation(representation):
    times = np.array([1.0, 2.0])
    result = average(
        one_spin(S=10, dephasing=1.0),
        task="evolve",
        times=list(times),
        dt=0.05,
        scheme="pda",
        representation=representation,
        trajectories=32768,
        batch=512,
    )
    value, error = (x[0] / 10 for x in result["Sx"])
    assert_close(value, error, np.exp(-times), limit=0.02)


def test_q_is_best_for_the_driven_small_spin():
    """Transient of a driven decaying spin from down (huber2021, Fig. 3) against the exact solution."""
    S, times = 10, [2.0, 4.0]
    x, y, z, _, minus = spin_matrices(S)
    L, one = minus / np.sqrt(S), np.eye(len(z))
    number = L.conj().T @ L
    generator = (
        -2j * (np.kron(x, one) - np.kron(one, x.T))
        + np.kron(L, L.conj())
        - (np.kron(number, one) + np.kron(one, number.T)) / 2
    )
    psi = coherent(S, 1, 0)
    start = np.outer(psi, psi.conj()).ravel()
    exact = (
        np.array([moments((scipy.linalg.expm(generator * t) @ start).reshape(z.shape), (x, y, z))[:3] for t in times]).T
        / S
    )
    worst = {}
    for representation in REPRESENTATIONS:
        result = average(
            one_spin(S=S, drive=2.0, decay=1.0),
            task="evolve",
            times=times,
            dt=0.02,
            scheme="pda",
            initial=[1, 0],
            representation=representation,
            trajectories=32768,
            batch=512,
        )
        worst[representation] = np.abs(components(result, S)[0][:3, 0] - exact).max()
    assert worst["Q"] < 0.1 and worst["Q"] < 0.8 * worst["P"], worst


@pytest.mark.parametrize(
    "values, message",
    [
        ({"representation": "Q"}, "representation = Q: there is no spin_conserving scheme for it; set scheme: pda"),
        ({"sampling": "coherent"}, "belongs to scheme: pda, not to spin_conserving"),
        ({"scheme": "pda", "integrator": "midpoint"}, "needs scheme: spin_conserving"),
        ({"observables": ["squeezing", "squeezing"]}, "each observable once"),
        ({"observables": ["entropie"]}, "entropie is not known: there are .*histogram_Sx"),
        ({"burn_in": "auto", "duration": 5}, "needs at least 20 samples"),
        ({"burn_in": "none"}, "auto"),
    ],
)
def test_bad_options(values, message):
    with pytest.raises(ValidationError, match=message):
        phase_space.Options.model_validate(values)


def ring(sites):
    return xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=sites, S=10, Jx=1, Jy=-1))


@pytest.mark.parametrize(
    "system, values, message",
    [
        (
            small_chain(),
            {"representation": "P", "scheme": "pda"},
            "representation = P: unsound .* drop_interaction_noise",
        ),
        (one_spin(S=10, twist=1.0), {"representation": "Q", "scheme": "pda"}, "representation = Q: unsound"),
        (ring(5), {"integrator": "eo"}, "not bipartite"),
        (two_spins(5), {"observables": ["correlation"]}, "translation symmetry"),
        (two_spins(5), {"observables": ["structure_factor"]}, "translation symmetry"),
    ],
)
def test_options_that_do_not_fit_the_system(system, values, message):
    with pytest.raises(ValueError, match=message):
        phase_space.records(system, phase_space.Options.model_validate(values))


def test_interaction_noise_may_be_dropped_on_purpose():
    """Then Q shows squeezing that does not match the exact one, 0.1804 (huber2021, Fig. 5)."""
    result = average(
        one_spin(S=50, twist=1.0),
        task="evolve",
        times=[2.0],
        dt=0.05,
        initial=[1, 0],
        scheme="pda",
        representation="Q",
        drop_interaction_noise=True,
        observables=["squeezing"],
        trajectories=8192,
        batch=512,
    )
    assert abs(result["squeezing"][0][0] - 0.1804) > 0.1


# integrators


@pytest.mark.parametrize("integrator, order", [("sib", 2), ("eo", 2), ("midpoint", 2), ("euler_maruyama", 1)])
def test_order_without_noise(integrator, order):
    """The same initial samples are taken by every dt."""
    system = dataclasses.replace(two_spins(50), jumps=())
    sz = [
        average(system, task="evolve", times=[2.0], dt=dt, trajectories=64, batch=32, integrator=integrator)["Sz"][0]
        for dt in (0.1, 0.05, 0.025, 0.0125)
    ]
    differences = np.diff(sz, axis=0)[:, :, 0]
    assert np.all(np.abs(differences[0]) > 1e-4)
    assert np.all(np.abs(np.log2(differences[:-1] / differences[1:]) - order) < 0.25)


@pytest.mark.parametrize("integrator, order", [("sib", 2), ("eo", 2), ("midpoint", 2), ("euler_maruyama", 1)])
def test_weak_order_with_noise(integrator, order):
    """Driven and dephased spin: ⟨S⟩ obeys the Bloch equations at any S. Errors at two steps dt, and their ratio."""
    drive, rate, time, S = 2.0, 0.5, 2.0, 1000
    generator = np.array([[-rate, 0, 0], [0, -rate, -drive], [0, drive, 0]])
    exact = scipy.linalg.expm(generator * time) @ [0, 0, 1]
    wrong = []
    for dt in (0.4, 0.2):
        result = average(
            one_spin(S=S, drive=drive, dephasing=rate),
            task="evolve",
            times=[time],
            dt=dt,
            initial=[0, 0],
            integrator=integrator,
            trajectories=262144,
            batch=8192,
        )
        value, error = (x[:3, 0, 0] for x in components(result, S))
        wrong.append(np.linalg.norm(value - exact))
        assert np.all(error < 0.003)
    assert wrong[0] > 0.02
    assert abs(np.log2(wrong[0] / wrong[1]) - order) < 0.5


def test_even_odd_and_semi_implicit_steps_agree_on_a_noisy_chain():
    """The same state after a time, within errors, and the same spin lengths to rounding."""
    results = [
        average(
            small_chain(), task="evolve", times=[4.0], dt=0.05, trajectories=16384, batch=512, integrator=integrator
        )
        for integrator in ("eo", "sib")
    ]
    (a, da), (b, db) = (components(result, 20) for result in results)
    assert_close(a, np.hypot(da, db), b, limit=0.03, bias=2e-4)
    assert np.allclose(results[0]["spin_length"][0], 20.5, rtol=1e-13)


# observables


def brute_force(system, s, place):
    """[component, sublattice, distance] averages of s_j s_j', sites labelled by place along x and by row."""
    L = place[0].max() + 1
    found = np.zeros((3, len(system.sublattices), L // 2 + 1))
    at = {(x, row): i for i, (x, row) in enumerate(zip(*place))}
    for (x, row), i in at.items():
        for d in range(L // 2 + 1):
            n = np.sum(system.sublattice == system.sublattice[i])
            found[:, system.sublattice[i], d] += (s[i] * s[at[(x + d) % L, row]]).mean(axis=-1) / n
    return found


@pytest.mark.parametrize(
    "system, place",
    [
        (ring(6), (np.arange(6), np.zeros(6, int))),
        (ring([4, 3]), (np.arange(12) % 4, np.arange(12) // 4)),
        (
            gain_loss_lattice.build(gain_loss_lattice.Params(cells=5, S=10, gain=1, loss=1)),
            (np.arange(10) // 2, np.arange(10) % 2),
        ),
    ],
)
def test_fourier_transforms_against_sums_over_pairs(system, place):
    s = np.random.default_rng(1).normal(size=(system.sites, 3, 7))
    sums = {}
    order = Ordering(system, True, 0)
    for part in (Correlation(system, order), StructureFactor(system, order)):
        total = np.zeros((*part.shape, 7))
        part.add(total, s)
        # moments that need no correction of order 1/S: the classical squares
        counts = np.bincount(system.sublattice)
        moments = np.zeros((1, 14, len(counts)))
        for k in range(len(counts)):
            moments[0, 3:6, k] = (s[system.sublattice == k] ** 2).mean(axis=(0, 2))
        sums |= part.means(total.mean(axis=-1)[None], moments)
    pairs = brute_force(system, s, place)
    for j, name in enumerate(("xx", "yy", "zz")):
        assert np.allclose(sums[f"correlation_{name}"][0], pairs[j])
    assert np.allclose(sums["correlation"][0], pairs[0] + pairs[1])
    L = place[0].max() + 1
    for k in range(len(counts)):
        mine = system.sublattice == k
        for m in range(L // 2 + 1):
            wave = (s[mine] * np.exp(-2j * np.pi * m / L * place[0][mine])[:, None, None]).sum(axis=0)
            expected = (np.abs(wave) ** 2).mean(axis=-1) / mine.sum()
            found = [sums[f"structure_factor_{name}"][0, k, m] for name in ("xx", "yy", "zz")]
            assert np.allclose(found, expected)


def test_correlations_of_the_chain_against_gaussian_theory():
    """⟨S⁺S⁻'⟩ = 2S n μ^{s/2}/(1 - √(1-Q)) at even s > 0, 0 at odd s, 2S n at s = 0 (spin waves, S → ∞)."""
    S, Jx, Jy = 5000, 0.5, -1.6
    Q = -Jx * Jy
    n = (Jx - Jy) ** 2 / 8 * (1 / Q) * (1 / np.sqrt(1 - Q) - 1)
    mu = (1 - Q / 2 - np.sqrt(1 - Q)) / (Q / 2)
    system = xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=40, S=S, Jx=Jx, Jy=Jy))
    options = dict(
        task="steady_state",
        initial=[1, 0],
        burn_in=50,
        duration=50,
        dt=0.1,
        trajectories=1024,
        batch=64,
        observables=["correlation", "structure_factor"],
    )
    result = average(system, **options)
    assert_close(S + result["Sz"][0], result["Sz"][1], n, limit=0.03, bias=0.01)
    even = np.arange(2, 9, 2)
    expected = np.zeros(9)
    expected[0], expected[even] = 1, mu ** (even / 2) / (1 - np.sqrt(1 - Q))
    value, error = (x[0, :9] / (2 * S * n) for x in result["correlation"])
    assert_close(value, error, expected, limit=0.05, bias=0.01)
    # of one site, with the ordering corrections: the mean of the structure factor over the wavenumbers
    mean = np.mean(result["structure_factor_xx"][0][0, 1:-1])
    ends = result["structure_factor_xx"][0][0, [0, -1]].sum()
    assert np.isclose((38 * mean + ends) / 40, result["Sx2"][0][0], rtol=1e-10)
    records = [phase_space.run(system, phase_space.Options(**options), r, CONTEXT)["correlation"] for r in range(16)]
    output = Output("correlation_length", reduce="function", function="correlation_length", sources=("correlation",))
    length, error = reduced(output, lambda name: np.stack(records))
    assert_close(length, error, -2 / np.log(mu), limit=0.2, bias=0.02)


def test_products_of_site_operators_in_a_coherent_state():
    """⟨O_1 O_2⟩ on different sites is a product, on one site the ordered one; what has no symbol is refused by name."""
    S, direction = 6, (0.35, 0.2)
    items = {
        "pair": [["Sx", 0], ["Sz", 2]],
        "ladder": [["S+", 1], ["S-", 2]],
        "number": [["S+", 1], ["S-", 1]],
        "order": [["Sx", 0], ["Sy", 0]],
        "three": [["Sx", 0], ["Sy", 1], ["Sz", 2]],
    }
    system, observables = ring(3), [{"name": name, "product": product} for name, product in items.items()]
    system = dataclasses.replace(system, spins=np.full(3, float(S)))
    options = dict(task="evolve", times=[0], initial=direction, trajectories=65536, batch=1024)
    result = average(system, observables=observables, **options)
    matrix = dict(zip(("Sx", "Sy", "Sz", "S+", "S-"), spin_matrices(S)))
    psi = coherent(S, *direction)
    for name, product in items.items():
        exact = 1
        for site in {site for _, site in product}:
            state = psi
            for operator in [matrix[operator] for operator, other in product if other == site][::-1]:
                state = operator @ state
            exact *= psi.conj() @ state
        value, error = (x[0] for x in result[name])
        assert abs(value - exact) < 6 * error < 0.06 * S ** len(product), name
    for product, words in (([["Sx", 0]] * 3, "cubic: Sx Sx Sx on site 0"), ([["|0><1|", 0]], "cubic: .*on site 0")):
        with pytest.raises(ValueError, match="method.observables: " + words):
            phase_space.records(
                system, phase_space.Options(observables=[{"name": "cubic", "product": product}], **options)
            )
    with pytest.raises(ValueError, match="purity: is no average over trajectories"):
        phase_space.records(system, phase_space.Options(observables=["purity"], **options))


def test_smallest_squeezing_is_that_of_the_average_curve():
    """It is not the mean of the records' own minima, which lies a standard error of a record lower."""
    system = one_spin(S=10, twist=1.0, decay=0.25)
    options = dict(task="evolve", times={"linspace": [0, 4, 41]}, initial=[1, 0], observables=["squeezing"])
    result = average(system, trajectories=4096, batch=32, **options)
    value, error = result["squeezing_minimum"]
    at = result["squeezing"][0].argmin()
    assert value == result["squeezing"][0][at] and 0.5 < error / result["squeezing"][1][at] < 2
    # the mean of the minima of 128 records is a standard error of a record, 11 of these, below
    long = average(system, trajectories=65536, batch=512, **options)["squeezing_minimum"]
    assert abs(value - long[0]) < 4 * np.hypot(error, long[1]) < 0.1


def test_distance_at_which_correlations_fall():
    s = np.arange(31)
    curves = np.stack([7 * np.exp(-((s / 4.5) ** 2)), 3 * np.exp(-s / 12.2), 2 * np.ones(31)])
    assert np.allclose(falls_to(curves), [4.5, 12.2, 30], atol=0.05)


def test_squeezing_against_exact():
    """H = (g/2S) Sx²: ξ² = 2S min ΔS⊥²/|⟨Sz⟩|², 0.1804 at S = 50, gt = 2."""
    S, times = 50, [1.0, 2.0]
    x, y, z, *_ = spin_matrices(S)
    psi, exact = coherent(S, 1, 0), []
    for t in times:
        v = scipy.linalg.expm(-1j * t / (2 * S) * x @ x) @ psi
        covariance = [[(v.conj() @ (a @ b + b @ a) @ v).real / 2 for a in (x, y)] for b in (x, y)]
        exact.append(2 * S * np.linalg.eigvalsh(covariance)[0] / (v.conj() @ z @ v).real ** 2)
    assert abs(exact[1] - 0.1804) < 1e-4
    for scheme in ("spin_conserving", "pda"):
        result = average(
            one_spin(S=S, twist=1.0),
            task="evolve",
            times=times,
            dt=0.05,
            initial=[1, 0],
            observables=["squeezing"],
            scheme=scheme,
            trajectories=16384,
            batch=256,
        )
        assert_close(*result["squeezing"], exact, limit=0.03, bias=0.008)
        assert result["squeezing_minimum"][0] == result["squeezing"][0].min()


def test_squeezing_of_a_coherent_state_in_any_direction_is_one():
    result = average(
        one_spin(S=20),
        task="evolve",
        times=[0],
        initial=[0.3, 0.4],
        observables=["squeezing"],
        trajectories=65536,
        batch=1024,
    )
    assert_close(*(x[0] for x in result["squeezing"]), 1, limit=0.04, bias=0.003)


@pytest.mark.parametrize("axis, direction", [("z", [0.5, 0]), ("x", [0.5, 0.5]), ("y", [0, 0])])
def test_histogram_across_the_spin(axis, direction):
    """A component perpendicular to a coherent state: mean 0, variance S/2, and all in the bins."""
    name = f"histogram_S{axis}"
    result = average(
        one_spin(S=200), task="evolve", times=[0], observables=[name], trajectories=8192, batch=256, initial=direction
    )
    bins = phase_space.outputs(one_spin(S=200), phase_space.Options(observables=[name]))
    centres = np.array(next(o for o in bins if o.name == name).dims[1].values)
    p = result[name][0][0, :, 0]
    assert np.isclose(p.sum(), 1) and abs(p @ centres) < 0.003
    width = centres[1] - centres[0]
    assert abs(p @ centres**2 - width**2 / 12 - 1 / 400) < 2e-4


# steady states


def test_autocorrelation_time_of_a_damped_spin():
    """Spin waves about the state down decay at Γ: ∫ e^{-Γt} dt = 1/Γ."""
    result = average(
        one_spin(S=10_000, decay=1.0),
        task="steady_state",
        initial=[1, 0],
        burn_in=10,
        duration=100,
        dt=0.1,
        sample_every=2,
        trajectories=4096,
        batch=512,
    )
    assert_close(*(x[0] for x in result["autocorrelation_time"]), 1 - 1 / 100, limit=0.15, bias=0.02)


def test_burn_in_is_found_from_the_data():
    """A spin at π/2 from its steady state has to relax; one already there has not."""
    S = 1000
    for initial, low, high in (((0.05, 0), 5, 20), ((1.0, 0), 0, 2)):
        result = average(
            one_spin(S=S, decay=1.0),
            task="steady_state",
            initial=initial,
            burn_in="auto",
            duration=100,
            dt=0.1,
            sample_every=2,
            trajectories=1024,
            batch=256,
        )
        assert low <= result["burn_in_used"][0] <= high
        assert_close(*(x[0] / S for x in result["Sz"]), -1, limit=0.003, bias=0.0005)
