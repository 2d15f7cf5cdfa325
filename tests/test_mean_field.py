"""Mean field against published fixed points and boundaries, and clusters against exact small systems."""

import numpy as np
import pytest
from mpi4py import MPI
from pydantic import ValidationError
from scipy.integrate import solve_ivp

from hpcsim.analysis import all_to_all, gain_loss, spins
from hpcsim.methods import Context, mean_field
from hpcsim.methods.mean_field import cluster, equations
from hpcsim.models import all_to_all_xyz, cavity_dimer, collective_spin, gain_loss_lattice, xyz_lattice
from hpcsim.system import Jumps, System, Terms, matrices

CONTEXT = Context(MPI.COMM_SELF, (1, 2), lambda: False)


def solve(system, **options):
    return mean_field.run(system, mean_field.Options(**options), 0, CONTEXT)


def chain(S, gain, loss, cells=2, h=0.5, **further):
    return gain_loss_lattice.build(gain_loss_lattice.Params(cells=cells, S=S, gain=gain, loss=loss, h=h, **further))


def ring(Jx, Jy, Jz=0.0, sites=60):
    return xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=sites, Jx=Jx, Jy=Jy, Jz=Jz, decay=1))


def steady_state(system):
    """Averages (sites, 3) of the exact steady state."""
    H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
    D = H.shape[0]
    L = matrices.full_liouvillian(H, jumps).toarray()
    L[0] = np.eye(D).ravel()
    rho = np.linalg.solve(L, np.eye(D * D)[0]).reshape(D, D).T
    return np.array(
        [[np.trace(matrices.site_operator(system, f"S{a}", i) @ rho).real for a in "xyz"] for i in range(system.sites)]
    )


@pytest.mark.parametrize(
    "system",
    [
        chain(2, 0.6, 0.4, cells=3),
        chain(0.5, 0.6, 0.4, cells=3),
        all_to_all_xyz.build(
            all_to_all_xyz.Params(
                N=4,
                Jx=0.6,
                Jy=1.4,
                Jz=1,
                decay=1,
                collective_decay=0.7,
                pump=0.2,
                dephasing=0.3,
                field=0.3,
                field_angle=0.2,
            )
        ),
        collective_spin.build(collective_spin.Params(S=3, drive=0.4, twist=0.7, decay=1, dephasing=0.2)),
    ],
)
def test_jacobian_is_that_of_the_equations(system):
    tables, s = equations.compile_system(system), np.random.default_rng(3).normal(size=3 * system.sites)

    def change(s):
        out = np.empty_like(s)
        equations.derivative(s, out, tables)
        return out

    numeric = np.array([(change(s + 1e-6 * e) - change(s - 1e-6 * e)) / 2e-6 for e in np.eye(len(s))]).T
    assert equations.jacobian(s, tables) == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize("S, gain", [(2, 0.7), (20, 1.3), (1000, 1.3)])
def test_fixed_point_of_the_gain_loss_chain(S, gain):
    """huber2020, Eq. 9 and Appendix B, at finite S: z = Γ/(2(J-Γ)), ⟨S_⊥⟩² = (Γ/J) [S(S+1) - z(z+1)]."""
    J, z = 1.5, gain / (2 * (1.5 - gain))
    if gain * (1 + 1 / (2 * S)) > J:
        z, perp = S, 0.0
    else:
        perp = np.sqrt(gain / J * (S * (S + 1) - z * (z + 1)))
    found = solve(chain(S, gain, gain), initial=(0.5, 0.0), starts=1, duration=4000)
    assert found["at_rest"] == 1 and found["residual"] < 1e-10 * S
    assert found["Sz"] == pytest.approx([z, -z], abs=1e-9)
    assert found["S_perp"] == pytest.approx([perp, perp], abs=1e-9)
    assert found["growth_rate"] == pytest.approx(0, abs=1e-10)  # the angle about z
    assert found["S_perp"] / S == pytest.approx(gain_loss.mean_field_S_perp(gain, 1, 0.5, S) / S, abs=1 / S)


@pytest.mark.parametrize("gain, stable", [(1.47, True), (1.45, False)])
def test_staggered_state_is_stable_above_its_boundary(gain, stable):
    """Γ (1 + 1/2S) > g + h: at S = 20, Γ > 1.4634."""
    found = solve(chain(20, gain, gain), initial={"a": [0, 0], "b": [1, 0]}, starts=1, search="roots")
    assert found["Sz"] == pytest.approx([20, -20]) and (found["growth_rate"] < 0) == stable


@pytest.mark.parametrize("Jy, stable", [(-0.499, True), (-0.501, False)])
def test_boundary_of_the_paramagnet(Jy, stable):
    """lee2013, Eq. 4: (Jx c - Jz)(Jy c - Jz) < -γ²/16; all down, on a ring of 60."""
    found = solve(ring(0.125, Jy), initial=(1.0, 0.0), starts=1, search="roots")
    assert found["Sz"][0] == pytest.approx(-0.5)
    assert found["growth_rate"] == pytest.approx(-0.5 + 2 * np.sqrt(-0.125 * Jy), abs=1e-9)
    assert (found["growth_rate"] < 0) == stable


@pytest.mark.parametrize("Jx, Jz", [(3.0, 1.0), (1.2, 1.0), (-3.0, 1.0), (2.0, 0.0)])
def test_edges_of_the_paramagnet(Jx, Jz):
    """lee2013, Eq. 4, against the Jacobian of a ring, just inside and outside."""
    for edge, outside in ((spins.paramagnet_lower, -1), (spins.paramagnet_upper, 1)):
        Jy = edge(Jx, Jz, 1.0)
        if not np.isnan(Jy):
            growth = [
                solve(ring(Jx, float(Jy) + step, Jz, sites=120), initial=(1.0, 0.0), starts=1, search="roots")[
                    "growth_rate"
                ]
                for step in (0.05, -0.05)
            ]
            assert (growth[0] - growth[1]) * outside > 0 and min(growth) < 0 < max(growth)
    # the Lifshitz point, Jx = 1.32 for Jz = γ
    assert spins.unstable_wavenumber(1.31, 1.0, 1.0) == 0 < spins.unstable_wavenumber(1.33, 1.0, 1.0)


def test_growth_of_a_density_wave_with_all_couplings():
    Jx, Jy, Jz, c = 0.3, 2.2, 1.0, np.cos(2 * np.pi * np.arange(60) / 60)
    found = solve(ring(Jx, Jy, Jz), initial=(1.0, 0.0), starts=1, search="roots")
    rate = -0.5 + 2 * np.sqrt(np.maximum(-(Jx * c - Jz) * (Jy * c - Jz), 0)).max()
    assert found["growth_rate"] == pytest.approx(rate, abs=1e-9) and rate > 0


@pytest.mark.parametrize("Jx, Jy, Jz, wavenumber", [(0.2, 2.0, 1.0, 0.0), (-0.2, -2.0, -1.0, 0.0)])
def test_ferromagnet_from_random_directions(Jx, Jy, Jz, wavenumber):
    found = solve(ring(Jx, Jy, Jz, sites=8), duration=2000)
    assert found["at_rest"] == 1 and found["main_wavenumber"] == wavenumber and found["S_perp"][0] > 0.1
    assert found["wave"].sum() == pytest.approx((found["profile"][:2] ** 2).sum() / 8)
    assert found["growth_rate"] < 1e-9 and found["residual"] < 1e-12


def test_antiferromagnet_and_paramagnet():
    """Signs of Jx and Jy exchange with a rotation of every second spin: k -> k + π."""
    found = solve(ring(-0.2, -2.0, 1.0, sites=8), duration=2000)
    assert found["main_wavenumber"] == 1.0 and found["at_rest"] == 1
    assert np.isnan(solve(ring(0.5, 0.5, 1.0, sites=8))["main_wavenumber"])


@pytest.mark.parametrize("collective", [0.0, 2 / 3])
def test_all_to_all_spins(collective):
    params = dict(N=50, Jx=0.6, Jy=1.5, Jz=1.0, decay=1 - collective, collective_decay=collective)
    found = solve(all_to_all_xyz.build(all_to_all_xyz.Params(**params)), starts=2, duration=2000)
    assert found["Sx"][0] ** 2 * 4 == pytest.approx(all_to_all.all_to_all_Sxx(**params), abs=1e-9)
    assert found["Sz"][0] * 2 == pytest.approx(all_to_all.all_to_all_Mz(**params), abs=1e-9)
    assert found["growth_rate"] < 0


def test_one_spin_in_time():
    """⟨Sz⟩ of a decaying spin 1/2 is exact; of a large one, that of dz/dt = -(Γ/S) [S(S+1) - z(z-1)]."""
    times = (0.0, 0.5, 2.0)
    half = collective_spin.build(collective_spin.Params(S=0.5, decay=1))
    found = solve(half, task="evolve", times=times, initial=(0.0, 0.0))
    assert found["Sz"][0] == pytest.approx(np.exp(-2 * np.array(times)) - 0.5, abs=1e-7)
    assert found["var_Sz"][0] == pytest.approx(0.25 - found["Sz"][0] ** 2)
    S, found = (
        10,
        solve(
            collective_spin.build(collective_spin.Params(S=10, decay=1)), task="evolve", times=times, initial=(0.0, 0.0)
        ),
    )
    assert found["Sz"][0] == pytest.approx(_logistic(S, np.array(times)), abs=1e-5)


def _logistic(S, t):
    """dz/dt = -(1/S)(z + S)(S + 1 - z), z(0) = S: (z + S)/(S + 1 - z) = 2S exp(-(2S+1) t/S)."""
    ratio = 2 * S * np.exp(-(2 * S + 1) * t / S)
    return (ratio * (S + 1) - S) / (1 + ratio)


def test_the_period_of_a_spin_that_precesses_for_ever():
    system = System(
        spins=np.array([0.5]),
        hamiltonian=(Terms(("Sz",), np.array([[0]]), np.array([2.0])),),
        jumps=(Jumps("S-", np.array([0]), np.array([0.0])),),
    )
    found = solve(system, initial=(0.5, 0.0), starts=1, duration=400)
    assert found["at_rest"] == 0 and found["limit_cycle"] == 1 and np.isnan(found["growth_rate"])
    assert found["period"] == pytest.approx(np.pi, abs=1e-6)
    assert found["swing"] == pytest.approx([1.0], abs=1e-3) and found["Sx"] == pytest.approx([0], abs=1e-3)


def ising(drive, field, coupling):
    """H = drive (Sx_a + Sx_b) + field (Sz_a + Sz_b) + coupling Sz_a Sz_b with decay 1: cycles, chaos, bistability."""
    both = np.array([[0], [1]])
    return System(
        spins=np.full(2, 0.5),
        jumps=(Jumps("S-", np.arange(2), np.ones(2)),),
        sublattice=np.arange(2),
        hamiltonian=(
            Terms(("Sx",), both, np.full(2, drive)),
            Terms(("Sz",), both, np.full(2, field)),
            Terms(("Sz", "Sz"), both.T, np.array([coupling])),
        ),
        sublattices=("a", "b"),
    )


def test_a_limit_cycle_and_its_period():
    """Against the times between maxima of ⟨Sz_a⟩ of an independent integration of the Bloch equations."""
    found = solve(ising(2.5, 3.0, 12.0), starts=2, duration=400)
    assert found["at_rest"] == 0 and found["limit_cycle"] == 1 and found["swing"].min() > 0.1

    def bloch(t, s):
        (x, y, z), bz = s.reshape(2, 3).T, 3 + 12 * s[[5, 2]]
        return np.array([-bz * y - x / 2, bz * x - 2.5 * z - y / 2, 2.5 * y - z - 0.5]).T.ravel()

    def turns(t, s):
        return bloch(t, s)[2]

    turns.direction = -1
    start = found["profile"].T.ravel() + 0.01
    times = solve_ivp(bloch, (0, 200), start, "DOP853", rtol=1e-9, atol=1e-12, events=turns).t_events[0]
    assert found["period"] == pytest.approx(np.diff(times)[-10:].mean(), abs=1e-5)


def test_chaos_is_no_limit_cycle():
    found = solve(ising(1.5, 3.0, 12.0), starts=12, duration=800)
    assert found["at_rest"] == found["limit_cycle"] == 0 and found["swing"].min() > 0.3
    assert np.isnan(found["period_of_start"]).all()


@pytest.mark.parametrize("system", [ising(1.5, 1.0, 8.0), ising(2.5, 2.0, 8.0)])
def test_all_attractors_and_which_start_reaches_them(system):
    """Two are stable at once; the reported one is that of most starts, also where the first reaches the other."""
    found = solve(system, starts=12, duration=400)
    label = found["attractor_of_start"]
    assert found["attractors"] == label.max() + 1 == 2 and found["reached"] == np.mean(label == 0) >= 0.5
    assert (found["growth_rate_of_start"] < 0).all() and found["at_rest_of_start"].all()
    for k in (0, 1):
        Sz = found["Sz_of_start"][:, label == k]
        assert np.ptp(Sz, axis=1) == pytest.approx(0, abs=1e-6)
        assert found["growth_rate_of_start"][label == k] == pytest.approx(found["growth_rate_of_start"][label == k][0])
    assert found["Sz"] == pytest.approx(found["Sz_of_start"][:, label.argmin()])


def test_a_start_at_a_saddle_leaves_it():
    """All spins down stay so for ever where the paramagnet is unstable, unless they are pushed."""
    system = ring(0.2, 2.0, 1.0, sites=8)
    pushed = solve(system, initial=(1.0, 0.0), starts=1, duration=1000)
    assert pushed["S_perp"][0] > 0.1 and pushed["growth_rate"] < 1e-9
    left = solve(system, initial=(1.0, 0.0), starts=1, duration=1000, stability=False)
    assert left["Sz"][0] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "J, order, period",
    [
        ((0.5, 0.5, 1), 0, None),
        ((4, 0, 1), 1, None),
        ((4.2, 2.1, 1), 2, 5.3),
        ((3, 1, 1), 2, 8.7),
        ((-4, 0, 1), 3, None),
        ((2.1, -2.1, 0), 4, None),
    ],
)
def test_order_of_the_phases(J, order, period):
    """lee2013, Fig. 1: paramagnet, ferromagnet, density wave (its period in sites), antiferromagnet, staggered XY."""
    found = solve(ring(*J, sites=80), starts=1, duration=200, settled=2e-5, stability=False, tolerance=1e-6)
    assert found["order"] == order
    if period:
        assert 2 / found["main_wavenumber"] == pytest.approx(period, rel=0.1)


# ------------------------------------------------------------------ clusters


@pytest.mark.parametrize(
    "system",
    [
        xyz_lattice.build(
            xyz_lattice.Params(convention="huber2021", sites=3, S=1, Jx=1.0, Jy=-1.7, Jz=0.6, decay=0.5, periodic=False)
        ),
        chain(1, 0.6, 0.4, cells=1, h=0),
        chain(0.5, 0.6, 0.4, cells=2, h=0.7, periodic=False),
        all_to_all_xyz.build(
            all_to_all_xyz.Params(N=4, Jx=0.6, Jy=1.4, Jz=1, decay=1, collective_decay=0.5, field=0.3)
        ),
    ],
)
def test_a_cluster_of_all_sites_is_exact(system):
    found = solve(system, cluster=system.sites, starts=1, duration=300, settled=1e-9, tolerance=1e-10, stability=False)
    exact = steady_state(system)
    for k, axis in enumerate("xyz"):
        expected = [exact[system.sublattice == s, k].mean() for s in range(len(system.sublattices))]
        assert found[f"S{axis}"] == pytest.approx(expected, abs=1e-7), axis


@pytest.mark.parametrize(
    "system",
    [
        ring(0.3, 2.2, 1.0, sites=4),
        all_to_all_xyz.build(
            all_to_all_xyz.Params(N=6, Jx=0.6, Jy=1.8, Jz=1, decay=1 / 3, collective_decay=2 / 3, field=0.1)
        ),
    ],
)
def test_a_cluster_of_one_spin_half_is_its_mean_field(system):
    common = dict(task="evolve", times=(0.5, 3.0), initial=(0.4, 0.3))
    one, site = solve(system, cluster=1, **common), solve(system, **common)
    for name in site:
        assert one[name] == pytest.approx(site[name], abs=1e-6), name


def test_edges_of_a_cluster_of_cells_carry_h():
    """huber2020, Eq. B3 with the term h at both ends: (h/S) ⟨S_b,last⟩ S_a,first and the reverse."""
    for cells in (1, 2):
        outer = cluster.cut(chain(2, 0.6, 0.4, cells=4), 2 * cells).outer
        last = 3 * (2 * cells - 1)
        expected = np.zeros_like(outer)
        for axis in (0, 1):
            expected[axis, last + axis] = expected[last + axis, axis] = 0.5 / 2
        assert outer == pytest.approx(expected)


def test_a_cluster_restores_the_symmetry_that_mean_field_breaks():
    """huber2020, Fig. 7, after the rotation of sublattice a: Jx = 2g, Jy = -2g."""
    system = xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=6, S=1, Jx=2.0, Jy=-2.0, Jz=0, decay=1))
    perp = [
        solve(system, cluster=n, starts=1, initial=(0.5, 0.25), duration=60, settled=1e-5)["S_perp"][0]
        for n in (1, 2, 3)
    ]
    assert perp[0] > perp[1] > perp[2]


def xyz(sites, S=1, decay=0.5, J=(1.0, -1.7, 0.6)):
    return xyz_lattice.build(
        xyz_lattice.Params(
            convention="huber2021", sites=sites, S=S, Jx=J[0], Jy=J[1], Jz=J[2], decay=decay, periodic=sites > 3
        )
    )


@pytest.mark.parametrize(
    "system",
    [
        xyz(3),
        all_to_all_xyz.build(
            all_to_all_xyz.Params(
                N=3, Jx=0.6, Jy=1.4, Jz=1, decay=1, collective_decay=0.5, dephasing=0.3, field=0.3, field_angle=0.4
            )
        ),
        System(
            spins=np.array([1.0, 0.5]),
            hamiltonian=(Terms(("Sy",), np.array([[0], [1]]), np.array([0.4, 0.3])),),
            jumps=(Jumps("Sy", np.arange(2), np.ones(1), collective=True), Jumps("S+", np.arange(2), np.ones(2))),
        ),
    ],
)
def test_contraction_is_the_liouvillian(system):
    dynamics = cluster.Dynamics(cluster.Cluster(system, np.zeros((3 * system.sites, 3 * system.sites))))
    D, rng = dynamics.dimension, np.random.default_rng(5)
    a = rng.normal(size=(D, D)) + 1j * rng.normal(size=(D, D))
    rho = a + a.conj().T
    L = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system))
    expected = (L @ rho.flatten("F")).reshape(D, D, order="F")
    found = dynamics(0.0, np.concatenate([rho.real.ravel(), rho.imag.ravel()])).reshape(2, D, D)
    assert found[0] + 1j * found[1] == pytest.approx(expected, abs=1e-12)


def test_stability_of_a_cluster_of_all_sites_is_the_liouvillian_gap():
    system = xyz(3)
    values = np.linalg.eigvals(
        matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    )
    slowest = sorted(values, key=lambda value: -value.real)[1]
    found = solve(system, cluster=3, starts=1, duration=300)
    assert found["growth_rate"] == pytest.approx(slowest.real, abs=1e-6)
    assert found["frequency"] == pytest.approx(abs(slowest.imag), abs=1e-6)


def test_stability_of_a_cluster_of_one_spin_half_is_that_of_the_site():
    system = ring(0.3, 2.2, 1.0, sites=2)
    for initial in ((1.0, 0.0), (0.5, 0.2)):
        site = solve(system, initial=initial, starts=1, search="roots")
        one = solve(system, cluster=1, initial=initial, starts=1, search="roots", duration=300)
        assert one["Sz"] == pytest.approx(site["Sz"], abs=1e-6) and one["residual"] < 1e-7
        assert one["growth_rate"] == pytest.approx(site["growth_rate"], abs=1e-5)


def test_roots_of_a_cluster_are_where_integration_ends():
    """huber2020, Fig. 7 at Γ = 0.3 g: three spins come to a symmetric state that is unstable, and leave it."""
    system = xyz(6, S=1.5, decay=0.3, J=(2.0, -2.0, 0.0))
    common = dict(cluster=3, initial=(0.5, 0.25), starts=1, duration=150, settled=1e-5, tolerance=1e-6)
    symmetric = solve(system, **common, search="roots")
    assert symmetric["residual"] <= 1.5e-5 and symmetric["S_perp"][0] < 1e-3 and symmetric["growth_rate"] > 0.04
    stable = solve(system, **common)
    assert stable["at_rest"] == 1 and stable["S_perp"][0] > 0.05 and stable["growth_rate"] < -0.1


def test_clusters_that_differ_are_refused():
    for system, n, message in (
        (chain(1, 1, 1, cells=2), 1, "differ"),
        (chain(1, 1, 1, cells=2), 3, "do not make"),
        (chain(1, 1, 1, cells=2, periodic=False), 2, "differ"),
        (chain(20, 1, 1, cells=2), 4, "dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            mean_field.records(system, mean_field.Options(cluster=n))


def test_what_is_not_supported():
    modes = cavity_dimer.build(cavity_dimer.Params(S=1, detuning=1, Gc=1, G=1, decay_a=1, decay_b=1))
    assert "boson" in mean_field.supports(modes)
    crossed = System(spins=np.array([1.0]), hamiltonian=(Terms(("Sz",), np.array([[0]]), np.ones(1)),), jumps=())
    assert mean_field.supports(crossed) is None
    for options in (dict(task="evolve"), dict(times=[1.0])):
        with pytest.raises(ValidationError):
            mean_field.Options(**options)
