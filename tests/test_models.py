"""Every model against its paper's formula, written here with Kronecker products alone, and its symmetries."""

import functools
import importlib

import numpy as np
import pytest
from conftest import require_module
from pydantic import ValidationError
from scipy import sparse
from scipy.linalg import expm
from scipy.special import loggamma

from hpcsim.methods import phase_space
from hpcsim.system import Translation, Transposition, WeakU1, lattice, matrices, order_of, translations
from hpcsim.system.operators import local_operator


def build(name, **params):
    model = importlib.import_module(f"hpcsim.models.{name}")
    return model.build(model.Params(**params))


def gain_loss(**params):
    return build("gain_loss_lattice", **{"S": 0.5, "gain": 0.6, "loss": 0.4} | params)


def xyz(**params):
    defaults = {"convention": "lee2013", "sites": 4, "Jx": 0.9, "Jy": 0.4, "Jz": 0.3}
    return build("xyz_lattice", **defaults | params)


def all_to_all(**params):
    return build("all_to_all_xyz", **{"N": 3, "Jx": 0.6, "Jy": 1.1, "Jz": 1.0, "decay": 1.0} | params)


def generator(system):
    """The Liouvillian of the built system on column-stacked states, its symmetries verified: sparse."""
    H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
    matrices.verify_symmetries(system, H, jumps)
    return matrices.full_liouvillian(H, jumps)


def master_equation(H, dissipators):
    """-i[H, ρ] + Σ_(rate, c) rate (cρc† - ½{c†c, ρ}), from its definition: sparse."""
    one = sparse.identity(H.shape[0])
    total = -1j * (sparse.kron(one, H) - sparse.kron(H.T, one))
    for rate, c in dissipators:
        c = sparse.csr_matrix(c)
        number = c.getH() @ c
        total = total + rate * (
            sparse.kron(c.conj(), c) - sparse.kron(one, number) / 2 - sparse.kron(number.T, one) / 2
        )
    return total


def twice(dissipators):
    """The same with D[c]ρ = 2cρc† - c†cρ - ρc†c."""
    return [(2 * rate, c) for rate, c in dissipators]


def assert_equal(system, H, dissipators):
    assert abs(generator(system) - master_equation(sparse.csr_matrix(H), dissipators)).max() < 1e-13


def at(sizes, site, operator):
    """A one-site operator on the whole space; site 0 is the slowest index."""
    factors = [sparse.identity(n) for n in sizes]
    factors[site] = sparse.csr_matrix(operator)
    return functools.reduce(sparse.kron, factors).tocsr()


def spin(S):
    """S+, Sz of one spin, Sz falling."""
    m = S - np.arange(round(2 * S) + 1)
    return np.diag(np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1)), 1), np.diag(m)


def annihilator(cutoff):
    """a of one mode, the number of quanta falling."""
    return np.diag(np.sqrt(np.arange(cutoff - 1, 0, -1)), -1)


def steady(L):
    """The steady state of a generator on column-stacked states: (D, D)."""
    D = round(np.sqrt(L.shape[0]))
    L = L.tolil()
    L[0] = sparse.identity(D).reshape(1, D * D)
    return sparse.linalg.spsolve(L.tocsc(), np.eye(D * D)[0].astype(complex)).reshape((D, D), order="F")


X, Y = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]])


# Lattices


def test_bonds_of_chains_and_squares_are_each_there_once():
    assert lattice.bonds((4, 1), True).tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert lattice.bonds((4, 1), False).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert lattice.bonds((2, 1), True).tolist() == [[0, 1]]
    assert lattice.bonds((1, 1), True).size == 0
    assert lattice.bonds((3, 2), False).tolist() == [[0, 1], [1, 2], [3, 4], [4, 5], [0, 3], [1, 4], [2, 5]]
    pairs = {frozenset(bond) for bond in lattice.bonds((4, 3), True).tolist()}
    assert len(pairs) == len(lattice.bonds((4, 3), True)) == 24


@pytest.mark.parametrize(
    "size, periodic, expected",
    [((4, 1), True, True), ((5, 1), True, False), ((5, 1), False, True), ((4, 6), True, True), ((4, 3), True, False)],
)
def test_a_ring_of_odd_length_is_not_bipartite(size, periodic, expected):
    assert lattice.is_bipartite(size, periodic) is expected


def test_a_size_is_a_number_a_pair_or_a_word():
    bonds = {str(size): len(xyz(sites=size).hamiltonian[0].sites) for size in (6, 6.0, [3, 2], "3x2")}
    assert bonds == {"6": 6, "6.0": 6, "[3, 2]": 9, "3x2": 9}


# Gain and loss


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("cells, S", [(1, 1.0), (2, 0.5), (3, 0.5)])
def test_gain_loss_chain_is_equations_1_to_3(cells, S, periodic):
    g, h, gain, loss = 0.9, 0.4, 0.7, 1.3
    sizes, up = [round(2 * S) + 1] * (2 * cells), spin(S)[0]
    raise_ = [at(sizes, i, up) for i in range(2 * cells)]
    H = 0
    for n in range(cells):
        H = H + g * raise_[2 * n] @ raise_[2 * n + 1].T
        if n < cells - 1 or (periodic and cells > 1):
            H = H + h * raise_[2 * n + 1] @ raise_[(2 * n + 2) % (2 * cells)].T
    H = (H + H.T) / (2 * S)
    gains = [(gain / (2 * S), raise_[2 * n]) for n in range(cells)]
    losses = [(loss / (2 * S), raise_[2 * n + 1].T) for n in range(cells)]
    assert_equal(
        gain_loss(cells=cells, S=S, g=g, h=h, gain=gain, loss=loss, periodic=periodic), H, twice(gains + losses)
    )


def test_gain_loss_square_alternates_g_and_h_along_rows_and_columns():
    g, h, S, nx, ny = 0.7, 0.3, 2.0, 3, 4
    system = build("gain_loss_lattice", cells=[nx, ny], S=S, g=g, h=h, gain=1, loss=2)
    expected = np.zeros((24, 24))
    for x in range(6):
        for y in range(4):
            strength = (g if (x + y) % 2 == 0 else h) / S
            for other in ((x + 1) % 6 + 6 * y, x + 6 * ((y + 1) % 4)):
                expected[x + 6 * y, other] += strength
                expected[other, x + 6 * y] += strength
    for terms in system.hamiltonian:
        coupling = np.zeros((24, 24))
        np.add.at(coupling, tuple(terms.sites.T), terms.coefficients)
        assert np.allclose(coupling + coupling.T, expected)
    a, b = system.sublattice == 0, system.sublattice == 1
    assert np.array_equal(np.flatnonzero(a), system.jumps[0].site) and system.jumps[0].operators == ("S+",)
    # linear theory of the antiferromagnet: it ends where gain * loss = (largest singular value)² = 4 (g + h)²
    assert np.linalg.norm(S * expected[np.ix_(a, b)], 2) == pytest.approx(2 * (g + h))


def test_one_row_of_cells_is_the_chain():
    chain, row = (build("gain_loss_lattice", cells=c, S=1, h=0.4, gain=1, loss=2) for c in (3, [3, 1]))
    for one, other in zip(chain.hamiltonian, row.hamiltonian):
        assert np.array_equal(one.sites, other.sites) and np.array_equal(one.coefficients, other.coefficients)
    assert np.array_equal(chain.sublattice, row.sublattice)


# XYZ lattices


@pytest.mark.parametrize(
    "sites, periodic, bonds, dimensions",
    [
        (3, True, [(0, 1), (1, 2), (2, 0)], 1),
        (4, False, [(0, 1), (1, 2), (2, 3)], 1),
        ([2, 2], False, [(0, 1), (2, 3), (0, 2), (1, 3)], 2),
        ([2, 2], True, [(0, 1), (2, 3), (0, 2), (1, 3)], 2),
    ],
)
def test_xyz_of_lee2013_has_pauli_matrices_and_the_lindblad_form(sites, periodic, bonds, dimensions):
    qutip = require_module("qutip")
    N, (Jx, Jy, Jz), gamma = int(np.prod(sites)), (0.9, -0.4, 0.3), 0.8

    def on(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(N)])

    H = sum(
        J * on(s, i) * on(s, j)
        for i, j in bonds
        for J, s in ((Jx, qutip.sigmax()), (Jy, qutip.sigmay()), (Jz, qutip.sigmaz()))
    ) / (2 * dimensions)
    expected = qutip.liouvillian(H, [np.sqrt(gamma) * on(qutip.sigmam(), i) for i in range(N)]).full()
    system = build(
        "xyz_lattice", convention="lee2013", sites=sites, Jx=Jx, Jy=Jy, Jz=Jz, decay=gamma, periodic=periodic
    )
    assert np.allclose(generator(system).toarray(), expected, atol=1e-13)


@pytest.mark.parametrize("S", [0.5, 1.0])
def test_xyz_of_huber2021_is_equations_34_and_35(S):
    (Jx, Jy, Jz), decay, sizes = (0.9, -0.4, 0.3), 0.8, [round(2 * S) + 1] * 3
    up, along_z = spin(S)
    components = (Jx, (up + up.T) / 2), (Jy, (up - up.T) / 2j), (Jz, along_z)
    H = sum(J / (2 * S) * at(sizes, i, s) @ at(sizes, (i + 1) % 3, s) for i in range(3) for J, s in components)
    jumps = [(decay / (2 * S), at(sizes, i, up.T)) for i in range(3)]
    assert_equal(
        build("xyz_lattice", convention="huber2021", sites=3, S=S, Jx=Jx, Jy=Jy, Jz=Jz, decay=decay), H, twice(jumps)
    )


def test_both_conventions_of_a_chain_differ_by_the_dictionary():
    lee = build("xyz_lattice", convention="lee2013", sites=3, Jx=0.9, Jy=-0.4, Jz=0.3, decay=0.8)
    huber = build("xyz_lattice", convention="huber2021", sites=3, Jx=1.8, Jy=-0.8, Jz=0.6, decay=0.4)
    assert abs(generator(lee) - generator(huber)).max() < 1e-14


def growth_rate(system):
    """Largest real part of the mean-field equations ds/dt = b × s + decay, linear around all spins down.

    Classically S- at rate γ damps the transverse components of a spin that is nearly down at γS.
    """
    n, S = system.sites, system.spins[0]
    field = {name: np.zeros((n, n)) for name in ("Sx", "Sy", "Sz")}
    for terms in system.hamiltonian:
        for (i, j), c in zip(terms.sites, terms.coefficients):
            field[terms.operators[0]][i, j] += c
            field[terms.operators[0]][j, i] += c
    bz = -S * np.diag(field["Sz"].sum(1))
    # ds_x = b_y s_z - b_z s_y, ds_y = b_z s_x - b_x s_z with s_z = -S
    jacobian = np.block([[np.zeros((n, n)), -S * field["Sy"] - bz], [S * field["Sx"] + bz, np.zeros((n, n))]])
    return np.linalg.eigvals(jacobian).real.max() - system.jumps[0].rates[0] * S


@pytest.mark.parametrize("sites", [60, [6, 8]])
@pytest.mark.parametrize("Jx, Jy, Jz", [(0.125, -0.5, 0.0), (0.9, 1.625, 1.0), (-2.0, 0.3, 1.0), (0.5, 0.4, 0.3)])
def test_mean_field_of_lee2013_grows_at_the_rate_of_its_equation_4(Jx, Jy, Jz, sites):
    """-γ/2 + Re 2 sqrt(-(Jx c - Jz)(Jy c - Jz)), largest over the wave vectors; 0 in the first case."""
    lengths = sites if isinstance(sites, list) else [sites]
    cosines = [np.cos(2 * np.pi * np.arange(n) / n) for n in lengths]
    c = functools.reduce(np.add.outer, cosines) / len(lengths)
    expected = 2 * np.sqrt((-(Jx * c - Jz) * (Jy * c - Jz)).astype(complex)).real.max() - 0.5
    system = build("xyz_lattice", convention="lee2013", sites=sites, Jx=Jx, Jy=Jy, Jz=Jz)
    assert growth_rate(system) == pytest.approx(expected, abs=1e-7)
    assert Jx != 0.125 or abs(expected) < 1e-12


def test_mean_field_of_huber2021_grows_where_the_product_is_below_minus_decay_squared():
    for Jy, expected in ((-0.8, np.sqrt(0.5 * 0.8) - 0.7), (-0.98, 0), (-1.2, np.sqrt(0.5 * 1.2) - 0.7)):
        system = build("xyz_lattice", convention="huber2021", sites=20, S=50, Jx=0.5, Jy=Jy, decay=0.7)
        assert growth_rate(system) == pytest.approx(expected, abs=1e-7)


# All to all


def test_all_to_all_is_equations_2_to_4_with_pump_dephasing_and_field():
    qutip = require_module("qutip")
    N, J, gamma, Gamma, h, theta = 3, (0.6, 1.1, 1.0), 0.7, 1.7, 0.2, 0.3
    pump, dephasing, collective_pump, collective_dephasing = 0.4, 0.5, 0.8, 0.9

    def on(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(N)])

    def total(operator):
        return sum(on(operator, i) for i in range(N))

    paulis = qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()
    H = sum(c * total(s) ** 2 for c, s in zip(J, paulis)) / (2 * (N - 1))
    H += h * (np.cos(np.pi * theta) * total(paulis[0]) + np.sin(np.pi * theta) * total(paulis[1]))
    jumps = []
    for local, collective, c in (
        (gamma, Gamma, qutip.sigmam()),
        (pump, collective_pump, qutip.sigmap()),
        (dephasing, collective_dephasing, qutip.sigmaz() / 2),
    ):
        jumps += [np.sqrt(local) * on(c, i) for i in range(N)]
        jumps.append(np.sqrt(collective / (N - 1)) * total(c))
    system = build(
        "all_to_all_xyz",
        N=N,
        Jx=J[0],
        Jy=J[1],
        Jz=J[2],
        field=h,
        field_angle=theta,
        decay=gamma,
        collective_decay=Gamma,
        pump=pump,
        collective_pump=collective_pump,
        dephasing=dephasing,
        collective_dephasing=collective_dephasing,
    )
    assert np.allclose(generator(system).toarray(), qutip.liouvillian(H, jumps).full(), atol=1e-13)


def test_all_to_all_correlations_of_local_decay_have_the_ratio_of_the_couplings():
    """Sxx/Syy = (Jy - Jz)/(Jz - Jx) in the steady state."""
    N, Jx, Jy, Jz = 4, 0.6, 1.5, 1.0
    rho = steady(generator(build("all_to_all_xyz", N=N, Jx=Jx, Jy=Jy, Jz=Jz, decay=1)))
    Sxx, Syy = (np.trace(rho @ at([2] * N, 0, s) @ at([2] * N, 1, s)).real for s in (X, Y))
    assert Sxx / Syy == pytest.approx((Jy - Jz) / (Jz - Jx), rel=1e-9)


@pytest.mark.parametrize("rates, expected", [({"decay": 0.3}, 0.15), ({"pump": 0.3}, 0.15), ({"dephasing": 0.3}, 0.15)])
def test_sx_of_one_spin_decays_at_half_of_every_rate(rates, expected):
    L = generator(build("all_to_all_xyz", N=2, Jx=0, Jy=0, Jz=0, **rates))
    rho = np.kron((np.eye(2) + X) / 2, np.eye(2) / 2)
    change = (L @ rho.flatten("F")).reshape((4, 4), order="F")
    assert np.trace(change @ np.kron(X, np.eye(2))).real == pytest.approx(-expected)


# Boson modes


def test_boson_operators_obey_the_algebra_below_the_cutoff():
    n, x, p, a, up = (local_operator(name, 6).toarray() for name in ("n", "x", "p", "a", "a+"))
    assert np.array_equal(a, annihilator(6)) and np.array_equal(up, a.T)
    assert np.allclose(n, up @ a) and np.diag(n).tolist() == [5, 4, 3, 2, 1, 0]
    assert np.allclose(x, a + up) and np.allclose(p, 1j * (up - a))
    assert np.allclose((a @ up - up @ a)[1:, 1:], np.eye(5))
    assert np.allclose(a, (x + 1j * p) / 2)


def test_kerr_oscillator_is_equations_6_and_7():
    detuning, U, F, D, decay, cutoff = 0.7, 1.3, 0.4, 3.0, 0.6, 7
    c = annihilator(cutoff)
    H = -detuning * c.T @ c + U / D * c.T @ c.T @ c @ c + np.sqrt(D) * F * (c + c.T)
    assert_equal(
        build("kerr_oscillator", detuning=detuning, U=U, F=F, D=D, decay=decay, cutoff=cutoff), H, twice([(decay, c)])
    )


def log_0f2(c, y):
    """ln 0F2(; c, c*; y) = ln Σ_k y^k / (k! |(c)_k|²), all terms positive."""
    k = np.arange(4000)
    terms = k * np.log(y) - loggamma(k + 1) - 2 * (loggamma(c + k) - loggamma(c)).real
    return terms.max() + np.log(np.exp(terms - terms.max()).sum())


def kerr_distribution(detuning, U, F, D, decay, cutoff):
    """P(n) of Drummond and Walls (1980) for an amplitude that decays at `decay`."""
    strength = U / D
    c, z2 = -(detuning + 1j * decay) / strength, F**2 * D / strength**2
    n = np.arange(cutoff)
    weight = n * np.log(z2) - loggamma(n + 1) - 2 * (loggamma(c + n) - loggamma(c)).real
    return np.exp([w + log_0f2(c + m, z2) - log_0f2(c, 2 * z2) for m, w in zip(n, weight)])


@pytest.mark.parametrize("F", [1.0, 1.8, 2.4])
def test_kerr_steady_state_is_the_closed_form(F):
    params = dict(detuning=10, U=10, F=F, D=5, decay=1, cutoff=24)
    rho = steady(generator(build("kerr_oscillator", **params)))
    assert np.allclose(np.diag(rho).real[::-1], kerr_distribution(**params), atol=1e-10)


def test_kerr_transition_at_d_50_is_where_the_paper_has_it():
    """At F = 1.76 γ of the paper's D[c] half the weight has moved; in standard form, γ/2 here, all of it."""

    def occupation(F, decay):
        n = np.arange(80)
        return kerr_distribution(detuning=10, U=10, F=F, D=50, decay=decay, cutoff=80) @ n / 50

    assert occupation(1.70, 1) < 0.06 and 0.2 < occupation(1.76, 1) < 0.4 and occupation(1.84, 1) > 0.6
    assert occupation(1.76, 0.5) > 0.6


CAVITY = dict(S=0.5, detuning=50.0, Gc=1.0, G=0.15, decay_c=0.01, decay_a=2.0, decay_b=3.0)


def test_cavity_dimer_is_equations_11_and_12():
    delta, Gc, G, rates = *(CAVITY[k] for k in ("detuning", "Gc", "G")), [0.01, 2.0, 3.0]
    sizes = [2, 2, 3, 2, 2]
    Sa, Sb = (at(sizes, i, spin(0.5)[0]) for i in (0, 1))
    c, ca, cb = modes = [at(sizes, i, annihilator(sizes[i])) for i in (2, 3, 4)]
    H = -Gc * (Sa.T + Sb.T) @ c.T + G * (Sa @ ca.T + Sb.T @ cb.T)
    H = delta * c.T @ c + H + H.T
    assert_equal(
        build("cavity_dimer", cutoff_c=3, cutoff=2, **CAVITY),
        H,
        twice([(rate / 2, mode) for rate, mode in zip(rates, modes)]),
    )


def test_cavity_dimer_becomes_the_dimer_when_its_modes_are_fast():
    """g = -Gc²/δ, gain 2G²/γa, loss 2G²/γb: Eq. 13."""
    dimer = build(
        "gain_loss_lattice",
        S=0.5,
        g=-(CAVITY["Gc"] ** 2) / CAVITY["detuning"],
        gain=2 * CAVITY["G"] ** 2 / CAVITY["decay_a"],
        loss=2 * CAVITY["G"] ** 2 / CAVITY["decay_b"],
    )
    cavity = build("cavity_dimer", **CAVITY)
    whole, reduced = steady(generator(cavity)), steady(generator(dimer))
    for site in (0, 1):
        found = np.trace(matrices.site_operator(cavity, "Sz", site) @ whole).real
        expected = np.trace(matrices.site_operator(dimer, "Sz", site) @ reduced).real
        assert abs(expected) > 0.02 and found == pytest.approx(expected, abs=0.01)


# Symmetries


def unitary(system, symmetry):
    """U of a Parity or a Translation, from exponentials and an exchange of tensor axes: (D, D)."""
    sizes, n = system.levels, system.sites
    U = np.eye(int(np.prod(sizes)), dtype=complex)
    if axis := getattr(symmetry, "axis", None):
        names = [f"S{axis}" if cutoff == 0 else "n" for cutoff in system.cutoffs]
        U = expm(1j * np.pi * sum(matrices.site_operator(system, name, i).toarray() for i, name in enumerate(names)))
    if symmetry.permutation is not None:
        U = U.reshape(*sizes, -1)
        U = np.moveaxis(U, np.arange(n), symmetry.permutation).reshape(U.shape[-1], -1)
    return U


def action(system, symmetry, rho):
    """What a declared symmetry does to a matrix; a U(1) rotates by the angle 0.7."""
    number = np.array([np.arange(size)[::-1] for size in system.levels], object)
    state = np.indices(system.levels).reshape(system.sites, -1)
    if isinstance(symmetry, WeakU1):
        weights = np.ones(system.sites, int) if symmetry.weights is None else symmetry.weights
        charge = sum(w * levels[j] for w, levels, j in zip(weights, number, state))
        return np.exp(0.7j * np.subtract.outer(charge, charge).astype(float)) * rho
    if isinstance(symmetry, Transposition):
        sign = (-1.0) ** state[symmetry.sites].sum(0)
        return sign[:, None] * rho.T * sign
    U = unitary(system, symmetry)
    return U @ rho @ U.conj().T


DECLARED = {  # what is declared, in words: U(1), T(ransposition), parity about an axis, ! moving sites
    "dimer": (gain_loss(S=1), "U T"),
    "dimer, gain = loss": (gain_loss(S=1, gain=0.4), "U T x!"),
    "chain": (gain_loss(cells=2, h=0.3), "U T shift"),
    "open chain, gain = loss": (gain_loss(cells=2, h=0.3, gain=0.4, periodic=False), "U T x!"),
    "chain, g = h": (gain_loss(cells=2, h=1), "U T shift !"),
    "square": (gain_loss(cells=[1, 2], h=0.3, gain=0.4, periodic=False), "U T"),
    "square of three rows": (gain_loss(cells=[1, 3], h=0.3, gain=0.4, periodic=False, S=0.5), "U T x!"),
    "xyz": (xyz(), "z ! shift"),
    "xyz, S = 1": (xyz(convention="huber2021", S=1, sites=3), "z ! shift"),
    "xyz, open, Jz = 0": (xyz(Jz=0, periodic=False), "z T !"),
    "xyz, odd ring, Jz = 0": (xyz(Jz=0, sites=3), "z ! shift"),
    "xxz": (xyz(Jy=0.9), "U ! shift"),
    "staggered": (xyz(Jy=-0.9, Jz=0), "U T ! shift"),
    "staggered, odd ring": (xyz(Jy=-0.9, sites=3), "z ! shift"),
    "xyz, square": (xyz(sites=[2, 2]), "z ! shift shift"),
    "all to all": (all_to_all(collective_decay=0.5), "z ! shift"),
    "all to all, xxz": (all_to_all(Jy=0.6, dephasing=0.3), "U ! shift"),
    "all to all, field": (all_to_all(field=0.1), "! shift"),
    "decay = pump": (all_to_all(pump=1, collective_dephasing=0.4), "z x ! shift"),
    "decay = pump, field on x": (all_to_all(pump=1, field=0.1, field_angle=1), "x ! shift"),
    "decay = pump, field on y": (all_to_all(pump=1, field=0.1, field_angle=0.5), "y ! shift"),
    "decay = pump, field between": (all_to_all(pump=1, field=0.1, field_angle=0.3), "! shift"),
    "collective decay alone": (all_to_all(pump=1, collective_decay=0.2), "z ! shift"),
    "driven spin": (build("collective_spin", S=1.5, drive=1, decay=1), "T"),
    "twisted spin": (build("collective_spin", S=1.5, twist=1, decay=1), "z"),
    "twisted spin, dephasing": (build("collective_spin", S=1.5, twist=1, dephasing=1), "z x"),
    "decaying spin": (build("collective_spin", S=1.5, decay=1, dephasing=1), "U T"),
    "kerr": (build("kerr_oscillator", detuning=1, U=1, F=1, cutoff=5), ""),
    "kerr, no drive": (build("kerr_oscillator", detuning=1, U=1, F=0, cutoff=5), "U"),
    "cavity": (build("cavity_dimer", **CAVITY), "U"),
}


def in_words(symmetry):
    kind = {WeakU1: "U", Transposition: "T", Translation: "shift"}.get(type(symmetry))
    return kind or (symmetry.axis or "") + "!" * (symmetry.permutation is not None)


@pytest.mark.parametrize("name", DECLARED)
def test_declared_symmetries_are_these_and_commute_with_the_liouvillian(name):
    system, words = DECLARED[name]
    assert " ".join(in_words(s) for s in system.symmetries).split() == words.split()
    L, rng = generator(system), np.random.default_rng(3)
    D = round(system.dimension)
    rho = rng.normal(size=(D, D)) + 1j * rng.normal(size=(D, D))

    def change(matrix):
        return (L @ matrix.flatten("F")).reshape((D, D), order="F")

    for symmetry in system.symmetries:
        before, after = action(system, symmetry, rho), action(system, symmetry, change(rho))
        assert np.allclose(change(before), after), symmetry


def test_translations_have_the_order_of_their_lattice():
    assert [order_of(move) for move in translations(xyz(sites=[3, 2]))] == [3, 2]
    assert [order_of(move) for move in translations(gain_loss(cells=5, h=0.3))] == [5]


@pytest.mark.parametrize("size", [12, 100])
def test_the_square_of_the_lattice_declares_what_its_couplings_have(size):
    """Too large for matrices: permutations of the sites must map every bond onto one of equal strength."""
    system = gain_loss(cells=[size // 2, size], h=1, gain=0.4)
    found = [s.permutation for s in system.symmetries if getattr(s, "permutation", None) is not None]
    terms, n = system.hamiltonian[0], system.sites
    coupling = sparse.csr_matrix((terms.coefficients, terms.sites.T), (n, n))
    coupling = coupling + coupling.T
    assert len(found) == 4
    for permutation in found:
        assert abs(coupling[permutation][:, permutation] - coupling).max() == 0
        moved = system.sublattice[permutation] - system.sublattice
        assert len(np.unique(np.abs(moved))) == 1  # every site changes its sublattice, or none


# What does not fit


@pytest.mark.parametrize(
    "name, params, words",
    [
        ("xyz_lattice", {"convention": "lee2013", "sites": 2, "S": 1, "Jx": 1, "Jy": 1}, "huber2021"),
        ("gain_loss_lattice", {"cells": [2, 2], "S": 1, "gain": 1, "loss": 1}, "periodic: false"),
        ("gain_loss_lattice", {"cells": [1, 4], "S": 1, "gain": 1, "loss": 1}, "nx >= 2"),
        ("gain_loss_lattice", {"cells": [2, 5], "S": 1, "gain": 1, "loss": 1}, "even"),
    ],
)
def test_parameters_that_do_not_go_together(name, params, words):
    with pytest.raises(ValidationError, match=words):
        build(name, **params)


@pytest.mark.parametrize("name", ["kerr, no drive", "cavity"])
def test_phase_space_refuses_boson_modes(name):
    assert "boson" in phase_space.supports(DECLARED[name][0])
