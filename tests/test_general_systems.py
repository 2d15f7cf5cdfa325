"""General Hamiltonians and jump operators, in every method that takes them, against dense Kronecker products."""

import functools

import numpy as np
import pytest
import reference
from scipy.linalg import expm
from sectors import assert_same_spectrum

import hpcsim
from hpcsim.methods import gaussian, matrix_product, mean_field, permutation, phase_space
from hpcsim.methods.liouvillian import antigap
from hpcsim.methods.trajectories import compile, kernels
from hpcsim.run.config import ConfigError
from hpcsim.system import Jumps, System, Terms, Translation, WeakU1, cartesian, matrices

ONE = np.zeros((1, 1), int)
PAIRS, RING = np.array([[0, 1], [1, 2]]), np.array([[0, 1], [1, 2], [2, 0]])
LOSS = Jumps("S-", np.arange(3), np.array([0.5, 0.3, 0.8]))


def complex_numbers(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def rate_matrix(rng, n, real=False):
    factor = rng.normal(size=(n, n)) if real else complex_numbers(rng, n, n)
    return factor @ factor.conj().T / n


def spins(*tables, S=(0.5, 0.5, 0.5), cutoffs=None, symmetries=()):
    """Every site a sublattice of its own."""
    n = len(S)
    return System(
        np.array(S, float),
        tuple(table for table in tables if isinstance(table, Terms)),
        tuple(table for table in tables if isinstance(table, Jumps)),
        symmetries,
        np.arange(n),
        tuple(map(str, range(n))),
        cutoffs=None if cutoffs is None else np.array(cutoffs),
    )


def dzyaloshinskii_moriya(rng):
    D = rng.normal(size=2)
    return spins(Terms(("Sx", "Sy"), PAIRS, D), Terms(("Sy", "Sx"), PAIRS, -D), Terms(("Sx",), ONE, D[:1]), LOSS)


def phases(rng):
    c = complex_numbers(rng, 3)
    return spins(Terms(("S+", "S-"), RING, c, plus_hc=True), Terms(("S-",), ONE, c[:1], True), LOSS)


def on_one_site(rng):
    c = complex_numbers(rng, 2)
    sites = np.array([[0, 0], [1, 0]])
    return spins(
        Terms(("Sx", "Sz"), sites, c, True), Terms(("S+", "S+", "Sz"), np.zeros((1, 3), int), c[:1], True),
        Jumps("S-", np.arange(2), np.array([0.4, 0.7])), Jumps(("Sz", "S+"), np.zeros((1, 2), int), np.array([0.3])),
        S=(1, 0.5),
    )  # fmt: skip


def four_bodies(rng):
    c = complex_numbers(rng, 1)
    four = np.array([[0, 1, 2, 0]])
    return spins(
        Terms(("Sz", "Sx", "Sy"), four[:, :3], c.real), Terms(("S+", "Sz", "S-"), four[:, :3], c, True),
        Terms(("S+", "S+", "S-", "Sx"), four, c, True), LOSS,
    )  # fmt: skip


def hopping(rng):
    """Incoherent hopping and pair loss."""
    rates = rng.uniform(0.2, 1, 2)
    return spins(
        Jumps(("S+", "S-"), PAIRS, rates), Jumps(("S-", "S-"), PAIRS, rates[::-1]), Terms(("Sx",), ONE, rates[:1]),
        Jumps("S-", np.array([2]), rates[:1]), Terms(("Sx", "Sx"), PAIRS, rates),
    )  # fmt: skip


def weighted(rng):
    """Sums with complex weights: of one operator, two of them together, and of products."""
    return spins(
        Jumps("S-", np.arange(3), rng.uniform(0.3, 1, 2), weights=complex_numbers(rng, 2, 3)),
        Jumps(("Sz", "S-"), PAIRS, np.array([0.4]), weights=complex_numbers(rng, 2)),
        Terms(("Sx", "Sz"), PAIRS, rng.normal(size=2)), Terms(("Sx",), ONE, np.ones(1)),
    )  # fmt: skip


def correlated(rng):
    return spins(
        Jumps.of_rate_matrix("S-", np.arange(3), rate_matrix(rng, 3)),
        Jumps.of_rate_matrix("Sz", np.array([2, 0]), rate_matrix(rng, 2, real=True)),
        Terms(("S+", "S-"), RING, complex_numbers(rng, 3), True), Terms(("Sx",), ONE, np.ones(1)),
    )  # fmt: skip


def bosons(rng):
    """Two modes and a spin: hopping with a phase, squeezing, Jaynes and Cummings, loss of pairs of quanta."""
    c = complex_numbers(rng, 4) / 2
    return spins(
        Terms(("a+", "a"), PAIRS[:1], c[:1], True), Terms(("a", "a"), np.array([[0, 0]]), c[1:2], True),
        Terms(("S+", "a"), np.array([[2, 0]]), c[2:3], True),
        Terms(("a+", "a", "Sz"), np.array([[1, 1, 2]]), c[3:].real),
        Jumps(("a", "a"), np.array([[0, 0], [0, 1]]), np.array([0.6, 0.3])),
        Jumps("a", np.arange(2), np.ones(1), weights=complex_numbers(rng, 2)), Jumps("S-", np.array([2]), np.ones(1)),
        S=(0, 0, 0.5), cutoffs=(3, 2, 0),
    )  # fmt: skip


def levels(rng):
    """Two atoms of three levels: lasers, a raman process of both, decay to two levels, one of them together."""
    c, both, pair = complex_numbers(rng, 3), np.arange(2)[:, None], np.array([[0, 1]])
    return spins(
        Terms(("|0><1|",), both, c[:2], True), Terms(("|0><2|", "|1><0|"), pair, c[2:], True),
        Terms(("|2><2|",), both, c[:2].real), Terms(("|1><1|", "Sz"), pair, c[2:].real),
        Jumps("|1><0|", np.arange(2), rng.uniform(0.3, 1, 2)), Jumps(("|2><1|", "|1><2|"), pair, np.array([0.4])),
        Jumps("|2><0|", np.arange(2), np.ones(1), weights=c[:2]), S=(1, 1),
    )  # fmt: skip


KINDS = (dzyaloshinskii_moriya, phases, on_one_site, four_bodies, hopping, weighted, correlated, levels, bosons)
every_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def made(kind):
    return kind(np.random.default_rng(len(kind.__name__)))


def average(system, rho, *factors):
    return np.trace(reference.product(system, *zip(*factors)) @ rho)


@every_kind
def test_matrices_and_sectors_are_those_of_kronecker_products(kind):
    system, size = made(kind), round(made(kind).dimension)
    H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
    assert np.allclose(H.toarray(), reference.hamiltonian(system), atol=1e-13)
    L = reference.liouvillian(system)
    order = np.arange(size**2).reshape(size, size).T.ravel()  # columns of ρ stacked there, rows here
    assert np.allclose(matrices.full_liouvillian(H, jumps).toarray()[np.ix_(order, order)], L, atol=1e-12)
    assert_same_spectrum(system, L)


@every_kind
def test_steady_state_gap_and_evolution(kind):
    system = made(kind)
    L, rho = reference.liouvillian(system), reference.steady_state(system)
    found, factors = hpcsim.solve(system), {"Sx": ("Sx", 1), "Sy": ("Sy", 0), "Sz": ("Sz", 0)}
    last = system.sites - 1
    factors = {name: (name, last) for name in ("Sx", "Sy", "Sz")}
    for name, factor in factors.items():
        assert found[name].values[last] == pytest.approx(average(system, rho, factor).real, abs=1e-8)
    gap = hpcsim.solve(system, {"name": "liouvillian", "task": "gap"})
    rates = np.sort(-np.linalg.eigvals(L).real)
    assert gap.gap.item() == pytest.approx(rates[1], rel=1e-6) and gap.certificate.item() >= 1
    times, start = [0.4, 1.1], reference.product_state(system, [(0.3 * np.pi, 0.2 * np.pi)] * system.sites)
    method = {"name": "liouvillian", "task": "evolve", "times": times, "initial": [0.3, 0.2]}
    moving = hpcsim.solve(system, method)
    for t, time in enumerate(times):
        state = (expm(L * time) @ start.ravel()).reshape(start.shape)
        for name, factor in factors.items():
            assert moving[name].values[last, t] == pytest.approx(average(system, state, factor).real, abs=1e-7)


@every_kind
def test_trajectories_act_with_the_same_operators(kind):
    """H_eff on a state, and every channel with its probability, against dense matrices."""
    system = made(kind)
    H, jumps = reference.hamiltonian(system), reference.jump_operators(system)
    effective = H - 0.5j * sum(c.conj().T @ c for c in jumps)
    psi = complex_numbers(np.random.default_rng(3), round(system.dimension))
    psi /= np.linalg.norm(psi)
    generator, after = compile.generator(system.levels, compile.local_matrices(system)), np.empty_like(psi)
    states = kernels.empty_states(2, generator)
    kernels.load(states[0], psi)
    kernels.derivative(states[1], states[0], 1.0, generator)
    kernels.store(after, states[1])
    assert np.allclose(after, -1j * effective @ psi, atol=1e-12)
    images = [c @ psi for c in jumps]
    share = np.cumsum([np.linalg.norm(image) ** 2 for image in images])
    for c, (upper, image) in enumerate(zip(share / share[-1], images)):
        state = psi.copy()
        assert (
            kernels.jump(state, np.empty_like(psi), compile.channels(system), np.empty(len(jumps)), upper - 1e-9) == c
        )
        assert abs(abs(np.vdot(state, image)) - np.linalg.norm(image)) < 1e-12


def loss_of_pairs(rng):
    """The number of spins that are up changes by two, or by one at site 2: trajectories follow its parity."""
    c = complex_numbers(rng, 2)
    return spins(
        Jumps(("S-", "S-"), PAIRS, np.array([0.9, 0.6])), Jumps("S-", np.array([2]), np.ones(1)),
        Terms(("S+", "S+"), PAIRS, c, True), Terms(("Sx", "Sx"), PAIRS, c.real),
    )  # fmt: skip


def driven_modes(rng):
    """Two modes and a spin: quadratures and quanta, from empty modes and a spin that is up."""
    c = complex_numbers(rng, 3) / 2
    return spins(
        Terms(("a+",), ONE, 2 * c[:1], True), Terms(("a+", "a"), PAIRS[:1], c[1:2], True),
        Terms(("S+", "a"), np.array([[2, 1]]), c[2:], True), Jumps(("a", "a"), np.array([[0, 0]]), np.array([0.5])),
        Jumps("a", np.arange(2), np.ones(1), weights=np.array([1, 0.5j])), Jumps("S-", np.array([2]), np.ones(1)),
        S=(0, 0, 0.5), cutoffs=(4, 3, 0),
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind, initial",
    [(hopping, 0.3), (correlated, 0.3), (loss_of_pairs, 0.0), (loss_of_pairs, 1.0), (driven_modes, 0.0)],
)
def test_averages_of_trajectories_are_exact_within_four_standard_errors(kind, initial):
    system, times = made(kind), [0.5, 1.5]
    own = ["Sz_2", {"name": "pair", "product": [["x", 0], ["Sz", 2]]}, "var_n"] if kind is driven_modes else ["Sz_2"]
    method = {"task": "evolve", "times": times, "initial": [initial, 0.2], "observables": own}
    exact = hpcsim.solve(system, {"name": "liouvillian", **method})
    found = hpcsim.solve(system, {"name": "trajectories", "trajectories": 256, **method})
    names = ("Sx", "Sy", "Sz", "Sz_2", *(("n", "var_n", "pair") if kind is driven_modes else ()))
    for name in names:
        error, there = found[f"{name}_stderr"].values, ~np.isnan(exact[name].values)
        assert np.array_equal(np.isnan(found[name].values), ~there), name
        difference = abs(found[name].values - exact[name].values)[there]
        assert np.all(difference < 4 * error[there] + 1e-6) and np.all(error[there] < 0.15), name
    assert found.jumps > 0.3


@pytest.mark.parametrize("kind", [dzyaloshinskii_moriya, phases, correlated])
def test_mean_field_equations_are_exact_for_a_product_state(kind):
    """d⟨S⟩/dt of a product of mixed states of spins 1/2: what the Liouvillian makes of it at that moment."""
    system = made(kind)
    s = np.random.default_rng(5).normal(size=(3, 3)) * 0.25
    sites = [reference.site_matrices(system, 0)[f"S{a}"] for a in "xyz"]
    rho = functools.reduce(np.kron, [np.eye(2) / 2 + 2 * np.tensordot(v, sites, 1) for v in s])
    change = (reference.liouvillian(system) @ rho.ravel()).reshape(rho.shape)
    wanted = [[average(system, change, (f"S{a}", i)).real for a in "xyz"] for i in range(3)]
    found = np.empty(9)
    mean_field.equations.derivative(s.ravel(), found, mean_field.equations.compile_system(system))
    assert np.allclose(found.reshape(3, 3), wanted, atol=1e-12) and np.abs(wanted).max() > 0.1


def rotated(angles, S):
    """Spins in a field along x with hopping, decay to the sides and together, all turned about z by angles."""
    n, turn = len(angles), np.exp(1j * np.asarray(angles))
    pairs = np.column_stack([np.arange(n - 1), np.arange(1, n)])
    hop = -0.4 / S * turn[pairs[:, 0]].conj() * turn[pairs[:, 1]]
    sites = np.arange(n)
    return spins(
        Terms(("S+", "S-"), pairs, hop, True),
        Terms(("Sx",), sites[:, None], 0.5 * turn.real), Terms(("Sy",), sites[:, None], 0.5 * turn.imag),
        Jumps("S-", sites, np.array([0.9, 0.3]) / S, weights=np.array([[1, 0.7, -0.4], [0.2, 1, 1]]) * turn),
        Jumps("S-", sites, np.full(n, 0.4 / S)), S=(S,) * n,
    )  # fmt: skip


@pytest.mark.parametrize("method", [{"name": "gaussian", "state": [0.9, 0.1]}, {"name": "mean_field", "starts": 1}])
def test_a_rotation_of_every_spin_about_z_changes_no_physics(method):
    """With complex coefficients and weights, as against real ones: the same along z, turned across."""
    angles, S = np.array([0.3, 1.9, -0.8]), 6.0
    plain, turned = (hpcsim.solve(rotated(a, S), method) for a in (0 * angles, angles))
    assert np.allclose(plain.Sz, turned.Sz, atol=1e-5) and np.ptp(plain.Sz.values) > 1e-3
    across = (plain.Sx.values + 1j * plain.Sy.values) * np.exp(1j * angles)
    assert np.allclose(turned.Sx.values + 1j * turned.Sy.values, across, atol=1e-5) and abs(across).min() > 1e-2


def alike(N, *tables):
    """Equal spins 1/2 with decay, a field across and S+S- + h.c. of all pairs."""
    sites, pairs = np.arange(N), np.column_stack(np.triu_indices(N, 1))
    always = Terms(("S+", "S-"), pairs, np.full(len(pairs), 0.4), True), Terms(("Sx",), sites[:, None], np.ones(N))
    return System(np.full(N, 0.5), always, (Jumps("S-", sites, np.full(N, 0.3)), *tables))


def test_permutation_takes_a_rate_matrix_of_equal_sites():
    matrix = 0.5 * np.eye(4) + 0.2
    system = alike(4, Jumps.of_rate_matrix("S-", np.arange(4), matrix))
    found, exact = (hpcsim.solve(system, name) for name in ("permutation", "liouvillian"))
    for name in ("Sx", "Sy", "Sz", "purity"):
        assert np.allclose(found[name].values.ravel(), exact[name].values.ravel(), atol=1e-9), name
    matrix[0, 1] = matrix[1, 0] = 0.3
    unequal = alike(4, Jumps.of_rate_matrix("S-", np.arange(4), matrix))
    assert "weights of S- in a sum of S- over 4 sites differ" in permutation.supports(unequal)


def level(rng):
    return spins(Terms(("|0><1|",), np.arange(3)[:, None], np.ones(3), True), Jumps("S-", np.arange(3), np.ones(3)))


def decay_of_levels(rng):
    return spins(Jumps("S-", np.arange(3), np.ones(3)), Jumps("|1><0|", np.arange(3), np.ones(3)))


def together(rng):
    return spins(Jumps("S-", np.arange(3), rng.uniform(0.3, 1, 1), weights=complex_numbers(rng, 3)))


@pytest.mark.parametrize("method", [gaussian, mean_field, permutation, phase_space])
@pytest.mark.parametrize("operators, plus_hc", [(("S+", "S-"), False), (("S+", "S+"), True), (("S+", "S-"), True)])
def test_products_of_one_site_are_not_taken_for_squares(method, operators, plus_hc):
    """S+S- of a spin 1/2 is Sz + 1/2, and no number."""
    terms = Terms(operators, np.repeat(np.arange(3)[:, None], 2, axis=1), np.ones(3), plus_hc)
    system = System(np.full(3, 0.5), (terms,), (Jumps("S-", np.arange(3), np.ones(3)),))
    assert f"{operators[0]}_0 {operators[1]}_0" in method.supports(system)


REFUSALS = [
    (phase_space, on_one_site, r"its Hamiltonian has the term Sx_0 Sz_0 \+ h.c."),
    (phase_space, hopping, r"the jump operator S\+_0 S-_1"),
    (phase_space, together, "a sum of S- over 3 sites"),
    (mean_field, four_bodies, "more than two operators, Sz_0 Sx_1 Sy_2"),
    (mean_field, on_one_site, r"its Hamiltonian has Sx_0 Sz_0 \+ h.c.: mean_field needs"),
    *((method, level, r"\|0><1\|") for method in (mean_field, gaussian, phase_space, permutation)),
    *(
        (method, decay_of_levels, r"the jump operator \|1><0\|")
        for method in (mean_field, gaussian, phase_space, permutation)
    ),
    (mean_field, hopping, r"the jump operator S\+_0 S-_1"),
    (gaussian, hopping, r"the jump operator S\+_0 S-_1"),
    (gaussian, on_one_site, r"its Hamiltonian has Sx_0 Sz_0 \+ h.c.: gaussian needs"),
    (permutation, hopping, r"the jump operator S\+_0 S-_1"),
    (matrix_product, weighted, "a sum of S- over 3 sites"),
]


@pytest.mark.parametrize("method, kind, words", REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_method_that_cannot_treat_a_term_names_it_and_the_methods_that_can(method, kind, words):
    name = method.__name__.rpartition(".")[2]
    system = made(kind)
    if method is permutation and kind is hopping:
        system = alike(3, Jumps(("S+", "S-"), PAIRS, np.ones(2)))
    with pytest.raises(ConfigError, match=rf"does not support.*{words}.*supported by.* liouvillian"):
        hpcsim.solve(system, name)


def test_the_mirror_of_the_spectrum_is_not_claimed_of_general_jumps():
    assert "it has S+_0 S-_1" in antigap.mirror(spins(LOSS, Jumps(("S+", "S-"), PAIRS, np.ones(2))))
    assert "Sx_0 Sy_1" in antigap.mirror(made(dzyaloshinskii_moriya))
    assert "|1><0|" in antigap.mirror(decay_of_levels(None)) and "|0><1|" in antigap.mirror(level(None))
    exchange = spins(Terms(("S+", "S-"), RING, np.ones(3), True), LOSS)
    assert antigap.mirror(exchange) is None
    ends = hpcsim.solve(exchange, {"name": "liouvillian", "task": "antigap"})
    real = np.sort(np.linalg.eigvals(reference.liouvillian(exchange)).real)
    assert ends.gap.item() == pytest.approx(-real[-2], rel=1e-6)


CIRCULANT = np.array([[1, 0.4, 0.4], [0.4, 1, 0.4], [0.4, 0.4, 1]])
SYMMETRIES = (Translation(np.array([1, 2, 0])), WeakU1())


def ring(matrix, *tables, symmetries=SYMMETRIES):
    jumps = Jumps.of_rate_matrix("S-", np.arange(3), matrix)
    hop = Terms(("S+", "S-"), RING, np.full(3, 0.5 + 0.3j), True)
    return spins(hop, jumps, *tables, symmetries=symmetries)


def test_channels_that_a_symmetry_mixes_are_seen_to_be_symmetric():
    """The eigenvectors of a rate matrix are no translations of each other; the dissipator is."""
    assert_same_spectrum(ring(CIRCULANT), reference.liouvillian(ring(CIRCULANT)))


@pytest.mark.parametrize(
    "system, words",
    [
        (ring(CIRCULANT * (1 + 1e-7 * np.diag([1, 0, 0]))), "declares Translation.* jump operator"),
        (ring(CIRCULANT, Jumps(("S-", "S-"), PAIRS, np.ones(2))), "declares Translation.* jump operator"),
        (ring(CIRCULANT, Terms(("S+", "S+"), RING, np.full(3, 1j), True)), "declares WeakU1, but the Hamiltonian"),
        (ring(CIRCULANT, Terms(("S+", "S-", "Sz"), np.array([[0, 1, 2]]), np.ones(1), True)), "declares Translation"),
        (
            ring(CIRCULANT, Jumps("Sx", np.arange(3), np.ones(1), weights=np.ones(3)), symmetries=SYMMETRIES[1:]),
            "declares WeakU1, but jump operator",
        ),
    ],
)
def test_a_declared_symmetry_that_a_term_breaks_is_refused(system, words):
    with pytest.raises(ValueError, match=words):
        hpcsim.solve(system)


def test_rows_of_one_site_are_one_row_of_a_sum():
    twice = Jumps("S-", np.array([2, 0, 2]), np.ones(1), weights=np.array([1, 1j, 0.5]))
    once = Jumps("S-", np.array([0, 2]), np.ones(1), weights=np.array([1j, 1.5]))
    assert np.array_equal(twice.site, once.site) and np.array_equal(twice.weights, once.weights)


def test_tables_that_mean_nothing_are_refused():
    wrong = [
        (lambda: spins(Terms(("S+", "S-"), PAIRS, np.ones(2))), r"S\+_0 S-_1 is not Hermitian: plus_hc=True"),
        (lambda: spins(Terms(("Sx", "Sy"), np.zeros((1, 2), int), np.ones(1)), S=(1,)), "Sx_0 Sy_0 is not Hermitian"),
        (lambda: spins(Terms(("Sx",), ONE, np.array([1j]))), "complex coefficient: plus_hc=True"),
        (lambda: Jumps("S-", np.arange(3), np.ones(2)), "2 rates"),
        (lambda: Jumps("S-", np.arange(3), np.ones(1), weights=np.ones(2)), r"weights of the shape \(1, 2\)"),
        (lambda: Jumps(("S-", "S-"), np.arange(3), np.ones(3)), r"sites of the shape \(3, 1\)"),
        (lambda: spins(Terms(("|0><2|",), ONE, np.ones(1), True)), r"\|0><2\| is on a site with the levels 0 to 1"),
        (lambda: spins(Terms(("|0><1|",), ONE, np.ones(1))), r"\|0><1\| is not Hermitian"),
        (lambda: Jumps("S-", np.arange(1), -np.ones(1)), "rate -1.0: it must be >= 0"),
        (lambda: Jumps.of_rate_matrix("S-", [0, 1], [[1, 2], [2, 1]]), "positive semidefinite.*eigenvalue -1"),
        (lambda: Jumps.of_rate_matrix("S-", [0, 1], [[1, 1j], [1j, 1]]), "Hermitian"),
        (lambda: Jumps.of_rate_matrix("S-", [0, 1], np.eye(3)), r"2 rows and columns, not \(3, 3\)"),
    ]
    for make, words in wrong:
        with pytest.raises(ValueError, match=words):
            make()
    number = spins(Terms(("S+", "S-"), np.zeros((1, 2), int), np.ones(1)), S=(1,))  # S+S- of one spin is Hermitian
    assert np.allclose(matrices.hamiltonian(number).toarray(), np.diag([2, 2, 0]))


def test_the_cartesian_form_is_the_same_hamiltonian():
    for kind in (phases, four_bodies, bosons):
        system = made(kind)
        same = System(system.spins, cartesian(system), (), cutoffs=system.cutoffs)
        assert np.allclose(reference.hamiltonian(same), reference.hamiltonian(system), atol=1e-13)


def alike_on_a_ring(phase, own=1.0):
    """Three spins with a sum of S- that has weights, in a field across; `own` is that of the first site."""
    sites = np.arange(3)
    return spins(
        Terms(("Sx", "Sz"), RING, np.full(3, 0.8)),
        Terms(("Sx",), sites[:, None], np.full(3, 0.6)),
        Jumps("S-", sites, np.array([0.9]), weights=np.array([own, 0.5, phase])),
        Jumps("S-", sites, np.full(3, 0.3)),
    )


def test_a_cluster_of_all_sites_is_exact_and_one_with_phases_is_refused():
    """The sum over the sites of a cluster has its weights."""
    system = alike_on_a_ring(-1.0)
    found, rho = hpcsim.solve(system, {"name": "mean_field", "cluster": 3, "starts": 1}), reference.steady_state(system)
    for name in ("Sx", "Sy", "Sz"):
        wanted = [average(system, rho, (name, i)).real for i in range(3)]
        assert np.allclose(found[name].values, wanted, atol=1e-5)
    assert np.ptp(found.Sz.values) > 1e-2
    with pytest.raises(ConfigError, match="cluster = 3: the weights of a sum of S- over 3 sites have different phases"):
        hpcsim.solve(alike_on_a_ring(1j), {"name": "mean_field", "cluster": 3})
    with pytest.raises(ConfigError, match="cluster = 1: the clusters of 1 consecutive sites differ"):
        hpcsim.solve(alike_on_a_ring(-1.0), {"name": "mean_field", "cluster": 1})
