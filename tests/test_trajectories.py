"""Monte-Carlo wave functions against exact density matrices, and their kernels against matrices."""

import dataclasses
import textwrap

import numpy as np
import pytest
from conftest import mpirun
from mpi4py import MPI
from pydantic import ValidationError
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

from hpcsim import observables
from hpcsim.ensemble.streams import fill_words, uniform
from hpcsim.methods import Cache, Context, liouvillian, trajectories
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.methods.trajectories import clock, compile, kernels, measurement, results, walk
from hpcsim.methods.trajectories.log import of_states
from hpcsim.models import all_to_all_xyz, collective_spin, gain_loss_lattice, xyz_lattice
from hpcsim.observables.matrices import operator as observable_operator
from hpcsim.system import Jumps, System, Terms, angles, coherent_state, matrices, starts

CONTEXT = Context(MPI.COMM_SELF, (2013, 110), lambda: False)
KEY = np.array(CONTEXT.key, np.uint64)
CHAIN = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=0.9, Jy=1.7, Jz=0.4, decay=0.8))
SYSTEMS = {
    "chain": CHAIN,
    "ring of 5": xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=5, Jx=2, Jy=0, Jz=1)),
    "one spin": collective_spin.build(collective_spin.Params(S=3, drive=1, twist=0.5, decay=0.7, dephasing=0.1)),
    "collective jumps": all_to_all_xyz.build(
        all_to_all_xyz.Params(
            N=4,
            Jx=0.6,
            Jy=1.4,
            Jz=1,
            decay=0.3,
            collective_decay=2,
            pump=0.1,
            collective_dephasing=0.5,
            field=0.3,
            field_angle=0.3,
        )
    ),
    "dimer": gain_loss_lattice.build(gain_loss_lattice.Params(S=1.5, gain=0.6, loss=0.4)),
    "mixed": System(
        spins=np.array([0.5, 1, 1.5, 0.5]),
        sublattice=np.array([0, 1, 1, 0]),
        sublattices=("a", "b"),
        hamiltonian=(
            Terms(("Sx", "Sy", "Sz"), np.array([[0, 1, 2], [3, 0, 1]]), np.array([0.7, -1.1])),
            Terms(("Sy", "Sy"), np.array([[2, 2], [0, 3]]), np.array([0.4, 0.9])),
            Terms(("Sy",), np.array([[1]]), np.array([0.8])),
        ),
        jumps=(
            Jumps("Sy", np.array([2, 0]), np.array([0.5, 0.3])),
            Jumps("S-", np.array([1]), np.array([0.6])),
            Jumps("S+", np.array([0, 2, 3]), np.array([0.4]), collective=True),
        ),
    ),
}
every_system = pytest.mark.parametrize("name", SYSTEMS)


def reduced(system, options):
    """Outputs of one point with their standard errors, as collect makes them."""
    arrays = [trajectories.run(system, options, r, CONTEXT) for r in trajectories.records(system, options)]
    found = {}
    for output in trajectories.outputs(system, options):
        found[output.name] = observables.reduced(output, lambda name: np.stack([a[name] for a in arrays]))
    return found


def density_matrices(system, initial, times):
    """ρ at the times, or in the steady state at the time None."""
    D = round(system.dimension)
    L = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system))
    if times is None:
        L = L.toarray()
        L[0] = np.eye(D).flatten("F")
        return [np.linalg.solve(L, np.eye(D * D)[0]).reshape(D, D, order="F")]
    psi = coherent_state(system.levels, angles(system, initial))
    rho = np.outer(psi, psi.conj()).flatten("F")
    return [expm_multiply(L * t, rho).reshape(D, D, order="F") for t in times]


def expected(system, rho):
    """Sublattice means of the spins and their variances; ⟨S_a S_a'⟩ at each distance of a ring."""

    def mean(*factors):
        product = matrices.site_operator(system, *factors[0])
        for factor in factors[1:]:
            product = product @ matrices.site_operator(system, *factor)
        return np.trace(product @ rho).real

    found, n = {}, system.sites
    for a in "xyz":
        members = [np.flatnonzero(system.sublattice == k) for k in range(len(system.sublattices))]
        one = np.array([mean((f"S{a}", i)) for i in range(n)])
        two = np.array([mean((f"S{a}", i), (f"S{a}", i)) for i in range(n)])
        for name, of_sites in ((f"S{a}", one), (f"S{a}2", two), (f"var_S{a}", two - one**2)):
            found[name] = np.array([of_sites[sites].mean() for sites in members])
        found[f"correlation_{a}{a}"] = np.array(
            [[np.mean([mean((f"S{a}", i), (f"S{a}", (i + d) % n)) for i in range(n)]) for d in range(n // 2 + 1)]]
        )
    return found


def assert_agrees(found, system, rhos, names, error_below):
    """Within four standard errors at every time, and the standard errors small."""
    values = [expected(system, rho) for rho in rhos]
    for name in names:
        value, error = found[name]
        wanted = np.stack([v[name] for v in values], axis=-1) if len(rhos) > 1 else values[0][name]
        assert np.all(np.abs(value - wanted) <= 4 * error + 1e-6), (name, value, wanted, error)
        assert np.all(error < error_below), (name, error)


MOMENTS = [f"{kind}{a}{power}" for a in "xyz" for kind, power in (("S", ""), ("S", "2"), ("var_S", ""))]
CORRELATIONS = ["correlation_xx", "correlation_yy", "correlation_zz"]


@every_system
def test_evolution_is_that_of_the_density_matrix(name):
    system, times, initial = SYSTEMS[name], (0.3, 1.0, 2.5), (0.2, 0.3)
    correlated = ("correlation",) if name in ("chain", "collective jumps") else ()
    options = trajectories.Options(
        task="evolve", times=times, trajectories=4000, batch=100, initial=initial, observables=correlated
    )
    assert_agrees(
        reduced(system, options),
        system,
        density_matrices(system, initial, times),
        MOMENTS + (CORRELATIONS if correlated else []),
        0.02 * max(1, system.spins.max()) ** 2,
    )


@pytest.mark.parametrize("name", ["ring of 5", "collective jumps"])
def test_steady_state_is_that_of_the_liouvillian(name):
    system = SYSTEMS[name]
    options = trajectories.Options(
        trajectories=320, batch=10, observables=("correlation",), burn_in=15, duration=15, sample_every=0.5
    )
    found = reduced(system, options)
    assert_agrees(found, system, density_matrices(system, None, None), MOMENTS + CORRELATIONS, 0.006)
    # S+S- of a pair is SxSx + SySy, and of one site has Sz besides
    ladder = found["correlation_xx"][0] + found["correlation_yy"][0]
    ladder[:, 0] += found["Sz"][0]
    assert np.allclose(found["correlation"][0], ladder, atol=1e-14)


@pytest.mark.parametrize("initial", [(0.5, 0.0), (0.0, 0.0)])
def test_six_spins_are_those_of_the_exact_method(initial):
    """In time and in the steady state; spins that start up have a parity."""
    system = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=6, Jx=0.9, Jy=1.7, Jz=0.4, decay=0.8))
    times = (0.5, 2.0)
    found = reduced(
        system, trajectories.Options(task="evolve", times=times, trajectories=6000, batch=200, initial=initial)
    )
    wanted = liouvillian.run(system, liouvillian.Options(task="evolve", times=times, initial=initial), HOME, CONTEXT)
    steady = reduced(
        system,
        trajectories.Options(
            trajectories=400,
            batch=20,
            observables=("correlation",),
            initial=initial,
            burn_in=10,
            duration=20,
            sample_every=0.25,
        ),
    )
    exact = liouvillian.run(system, liouvillian.Options(observables=["correlation"]), HOME, CONTEXT)
    for (mean, error), value in [
        *((found[f"S{a}"], wanted[f"S{a}"]) for a in "xyz"),
        *((steady[name], exact[name]) for name in CORRELATIONS),
        (steady["Sz"], exact["Sz"]),
    ]:
        assert np.all(np.abs(mean - value) <= 4 * error + 1e-6) and np.all(error < 0.003), (mean, value, error)


@pytest.mark.parametrize("block", [8, 16, 2048])
@every_system
def test_generator_without_a_matrix(name, block, monkeypatch):
    monkeypatch.setattr(compile, "BLOCK", block)
    system = SYSTEMS[name]
    effective = matrices.effective_hamiltonian(matrices.hamiltonian(system), matrices.jump_operators(system))
    generator, D = compile.generator(system.levels, compile.local_matrices(system)), round(system.dimension)
    random = np.random.default_rng(1).normal(size=(2, D))
    x, y = random[0] + 1j * random[1], np.empty(D, complex)
    states = kernels.empty_states(2, generator)
    kernels.load(states[0], x)
    kernels.derivative(states[1], states[0], 0.7, generator)
    kernels.store(y, states[1])
    assert np.abs(y - -0.7j * (effective @ x)).max() < 1e-12 * abs(effective).max()


@pytest.mark.parametrize("sites", [1, 2, 3, 4, 13])
@pytest.mark.parametrize("parity", [None, 0, 1])
def test_blocks_of_a_generator_hold_its_states_and_no_more(sites, parity):
    """The compiled loop over blocks has no other bound."""
    levels = np.full(sites, 2)
    local = {(i,): np.diag([0.3, -0.7]) for i in range(sites)} | {(i, i + 1): np.eye(4)[::-1] for i in range(sites - 1)}
    generator = compile.generator(levels, local, parity)
    states = 2 ** (sites if parity is None else sites - 1)
    chunks = -(-states // compile.CHUNK)
    assert generator.diagonal.shape == (2, chunks * compile.CHUNK)
    assert len(generator.pattern) * generator.rows == chunks
    assert len(generator.segments) == generator.outer + 2 * len(generator.pattern) + 1


@every_system
def test_jumps_without_a_matrix(name):
    """The channel is drawn by γ‖Lψ‖², and the state after it is Lψ, normalised."""
    system = SYSTEMS[name]
    channels, jumps = compile.channels(system), matrices.jump_operators(system)
    random = np.random.default_rng(2).normal(size=(2, round(system.dimension)))
    psi = (random[0] + 1j * random[1]) / np.linalg.norm(random)
    after = [L @ psi for _, L in jumps]
    share = np.cumsum([rate * np.linalg.norm(x) ** 2 for (rate, _), x in zip(jumps, after)])
    share /= share[-1]
    for c, upper in enumerate(share):
        lower = share[c - 1] if c else 0.0
        for draw in (lower + 1e-9, upper - 1e-9):
            state = psi.copy()
            chosen = kernels.jump(state, np.empty_like(psi), channels, np.empty(len(jumps)), draw)
            assert chosen == c
            assert np.allclose(state, after[c] / np.linalg.norm(after[c]), atol=1e-13)


@pytest.mark.parametrize("tolerance, error", [(1e-5, 1e-4), (1e-10, 1e-9)])
def test_without_jumps_the_evolution_is_unitary(tolerance, error):
    """Spins without decay, for a hundred steps: the error follows the tolerance."""
    system = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=0.9, Jy=1.7, Jz=0.4, decay=0))
    options = trajectories.Options(
        task="evolve", times=(0.0, 7.0, 30.0), trajectories=2, batch=1, initial=(0.3, 0.1), tolerance=tolerance
    )
    found = trajectories.run(system, options, 0, CONTEXT)
    psi = coherent_state(system.levels, angles(system, (0.3, 0.1)))
    assert found["jumps"] == 0
    H = matrices.hamiltonian(system).toarray()
    for k, t in enumerate(options.times):
        state = expm(-1j * H * t) @ psi
        values = expected(system, np.outer(state, state.conj()))
        for name in ("Sx", "Sy", "Sz"):
            assert abs(found[name][0, k] - values[name][0]) < error


def test_series_at_any_time_of_the_step():
    """Σ_k w_k x^k, its norm and the slope of that, against exp(-i H_eff t)."""
    generator = compile.generator(CHAIN.levels, compile.local_matrices(CHAIN))
    psi = coherent_state(CHAIN.levels, angles(CHAIN, (0.3, 0.1)))
    series, p = kernels.empty_states(kernels.ORDER + 2, generator), np.empty(5)
    state, found = series[-1], np.empty_like(psi)
    kernels.load(series[0], psi)
    for k in range(1, kernels.ORDER + 1):
        kernels.derivative(series[k], series[k - 1], generator.scale / k, generator)
    effective = matrices.effective_hamiltonian(matrices.hamiltonian(CHAIN), matrices.jump_operators(CHAIN)).toarray()
    loss = sum(rate * (L.getH() @ L) for rate, L in matrices.jump_operators(CHAIN))
    for x in 0.8, 1.3:
        norm, slope = kernels.sum_series(state, series[:-1], x)
        kernels.store(found, state)
        wanted = expm(-1j * effective * x * generator.scale) @ psi
        assert np.allclose(found, wanted, atol=1e-8)
        assert norm == pytest.approx(np.linalg.norm(wanted) ** 2, rel=1e-8)
        assert slope == pytest.approx(-generator.scale * (wanted.conj() @ loss @ wanted).real, rel=1e-6)
        threshold = 1 - 0.9 * (1 - norm)
        at, there, jumped = kernels.place_jump(state, series[:-1], x, threshold, 1e-12)
        assert jumped and 0 < at < x and there == pytest.approx(threshold, rel=1e-11)
        assert kernels.place_jump(state, series[:-1], x, norm * 0.99, 1e-12) == (x, norm, False)
    kernels.squared_norm(p, series)
    assert np.polyval(p[::-1], 0.1) == pytest.approx(kernels.sum_series(state, series[:-1], 0.1)[0], rel=1e-6)


def _run(system, sums, psi, first, times, tolerance, channels, plan):
    generator = compile.generator(system.levels, compile.local_matrices(system))
    tables = clock.Tables((generator,) * 2, -1, np.zeros(1, int), channels)
    scratch, kept = clock.scratch_of(tables, psi.size, 0), of_states(len(sums), 0, 0)
    jumps, slots = np.zeros(len(sums), int), np.arange(len(times))
    clock.run(sums, jumps, psi[None], first, times, slots, tolerance, tables, None, plan, KEY, scratch, kept)


def _one_decaying_spin(numbers, times, rate):
    """Sz (trajectories, times) of single spins 1/2 that start up."""
    system = System(spins=np.array([0.5]), hamiltonian=(), jumps=(Jumps("S-", np.array([0]), np.array([rate])),))
    plan = results.measured(system, ()).tables
    sums = np.zeros((len(numbers), len(times), plan.size))
    _run(system, sums, np.array([1, 0], complex), numbers[0], times, 1e-8, compile.channels(system), plan)
    return sums[:, :, 2]


def test_a_decaying_spin_jumps_where_its_random_number_says():
    """exp(-γt) = r, to the tolerance: up just before, down just after."""
    rate, words = 0.7, np.empty((4, 20), np.uint64)
    fill_words(words, np.uint64(0), np.uint64(0), np.uint64(0), clock.JUMPS, KEY)
    for number in range(20):
        t = -np.log(uniform(float(words[0, number]))) / rate
        Sz = _one_decaying_spin(np.array([number]), t + 1e-6 * np.array([-1.0, 1.0]), rate)
        assert np.allclose(Sz, [[0.5, -0.5]])


def test_waiting_times_are_exponential():
    """The whole distribution of jump times, by Kolmogorov and Smirnov, at a probability of 1e-3."""
    n, rate, times = 4000, 0.7, np.linspace(0.1, 8, 80)
    left = np.mean(_one_decaying_spin(np.arange(n), times, rate) > 0, axis=0)
    assert np.max(np.abs(left - np.exp(-rate * times))) < 1.95 / np.sqrt(n)


@every_system
def test_measurement_of_a_state(name):
    system, cut = SYSTEMS[name], SYSTEMS[name].sites > 1
    own, n = ("entanglement_entropy",) * cut, system.sites
    plan = results.measured(system, ("squeezing", *own)).tables
    classes = dict(kind=np.arange(n * n).reshape(n, n), classes=n * n, place=plan.place + 3 * n * n)
    plan = plan._replace(**classes, total=plan.total + 3 * n * n, size=plan.size + 3 * n * n)
    random = np.random.default_rng(3).normal(size=(2, round(system.dimension)))
    psi = (random[0] + 1j * random[1]) / np.linalg.norm(random)
    total = np.zeros(plan.size)
    states = np.zeros((2, 2, -(-len(psi) // 8) * 8 + 2 * compile.PAD))
    kernels.load(states[0], psi)
    measurement.measure(total, states[0], states[1], plan)
    for axis, a in enumerate("xyz"):
        on = [matrices.site_operator(system, f"S{a}", i) @ psi for i in range(n)]
        for i in range(n):
            assert total[axis * n + i] == pytest.approx((psi.conj() @ on[i]).real, abs=1e-13)
            assert total[(3 + axis) * n + i] == pytest.approx(np.linalg.norm(on[i]) ** 2, abs=1e-13)
            for j in range(i + 1, n):
                pair = total[6 * n + axis * n * n + i * n + j]
                assert pair == pytest.approx((on[i].conj() @ on[j]).real, abs=1e-13)
    J = [sum(matrices.site_operator(system, f"S{a}", i) for i in range(n)) @ psi for a in "xyz"]
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)]
    assert total[plan.total :][:6] == pytest.approx([(J[a].conj() @ J[b]).real for a, b in pairs], abs=1e-12)
    if cut:
        first = int(np.prod(system.levels[: n // 2]))
        weights = np.linalg.svd(psi.reshape(first, -1), compute_uv=False) ** 2
        assert total[-1] == pytest.approx(-np.sum(weights * np.log(weights)), abs=1e-12)


def _sums(first, count, channels=None):
    times = np.linspace(0, 4, 9)
    plan = results.measured(CHAIN, ("correlation", "entanglement_entropy")).tables
    sums = np.zeros((count, len(times), plan.size))
    _run(
        CHAIN,
        sums,
        coherent_state(CHAIN.levels, angles(CHAIN, (0.2, 0.3))),
        first,
        times,
        1e-6,
        channels or compile.channels(CHAIN),
        plan,
    )
    return sums


def test_a_trajectory_is_the_same_bits_in_any_company():
    whole = _sums(first=0, count=20)
    assert np.array_equal(whole[5:12], _sums(first=5, count=7))
    assert not np.array_equal(whole[0], whole[1])


@pytest.mark.parametrize("name", ["chain", "ring of 5", "mixed parity"])
@pytest.mark.parametrize("direction", [0, 1])
def test_a_parity_that_jumps_change_halves_the_vector(name, direction, monkeypatch):
    """The same trajectories, from spins up or down, as of whole vectors."""
    system = SYSTEMS.get(name) or System(
        spins=np.array([1, 0.5, 0.5, 0.5]),
        symmetries=(),
        hamiltonian=(
            Terms(("Sx", "Sy"), np.array([[0, 3], [1, 2], [2, 3]]), np.array([0.7, 0.9, 0.4])),
            Terms(("Sz", "Sz"), np.array([[1, 3]]), np.array([0.8])),
        ),
        jumps=(
            Jumps("Sz", np.array([3, 1]), np.array([0.5, 0.2])),
            Jumps("S-", np.array([0, 3]), np.array([0.4]), collective=True),
            Jumps("Sx", np.arange(4), np.full(4, 0.3)),
        ),
    )
    options = trajectories.Options(task="evolve", times=(0.5, 3), trajectories=12, batch=6, initial=(direction, 0.3))

    def compiled(system, initial):
        return walk.Walker(system, starts.known_levels(system, initial))

    found = compiled(system, options.initial)
    assert found.tables.parity == direction * np.sum(system.levels - 1) % 2
    assert found.tables.generators[0].diagonal.shape[1] == -(-round(system.dimension) // 16) * 8
    assert compiled(SYSTEMS["mixed"], options.initial).tables.parity == -1  # its terms change the parity
    assert compiled(system, (abs(direction - 0.1), 0.3)).tables.parity == -1
    half = trajectories.run(system, options, 0, CONTEXT)
    monkeypatch.setattr(walk, "flips", lambda system, local: None)
    whole = trajectories.run(system, options, 0, dataclasses.replace(CONTEXT, cache=Cache()))
    assert half["jumps"] == whole["jumps"] > 0
    for key in whole:
        assert np.allclose(half[key], whole[key], rtol=0, atol=1e-8)


def test_phases_of_jump_operators_do_not_matter():
    channels = compile.channels(CHAIN)
    turned = channels._replace(coefficient=channels.coefficient * np.exp(0.9j * np.arange(len(channels.coefficient))))
    assert np.allclose(_sums(0, 20), _sums(0, 20, turned), atol=1e-9)


def test_states_are_normalised():
    """⟨Sx² + Sy² + Sz²⟩ = S(S+1) of every site at every time, of states with jumps behind them."""
    moments = _sums(0, 20)[:, :, : 6 * CHAIN.sites].reshape(20, 9, 6, CHAIN.sites)
    assert np.allclose(moments[:, :, 3:].sum(axis=2), 0.75, atol=1e-12)
    assert np.all(np.linalg.norm(moments[:, :, :3], axis=2) <= 0.5 + 1e-12)


def test_entropy_of_a_product_state_is_zero_and_grows():
    entropy = _sums(0, 8)[:, :, -1]
    assert np.allclose(entropy[:, 0], 0, atol=1e-10)
    assert np.all(entropy[:, 1:].mean(axis=0) > 0.05) and np.all(entropy < 2 * np.log(2) + 1e-12)


def test_one_and_several_ranks_give_the_same_bits(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(
        textwrap.dedent("""
        from mpi4py import MPI
        import numpy as np
        from hpcsim.methods import Context, trajectories
        from hpcsim.models import xyz_lattice
        params = xyz_lattice.Params(convention="lee2013", sites=3, Jx=0.9, Jy=1.7, Jz=0.4)
        options = trajectories.Options(trajectories=14, batch=7, burn_in=1, duration=2, observables=["correlation"])
        def run(comm):
            context = Context(comm, (1, 2), lambda: False)
            return trajectories.run(xyz_lattice.build(params), options, 1, context)
        alone, together = run(MPI.COMM_SELF), run(MPI.COMM_WORLD)
        assert MPI.COMM_WORLD.size == 3
        for name in alone:
            assert np.array_equal(alone[name], together[name]), name
        print("same")
    """)
    )
    done = mpirun(3, [script])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == 3


def test_correlators_by_name_and_the_structure_factor():
    """A product state at t = 0, different on the two sublattices; and those of a run, against each other."""
    names = ("Sz_1", "Sx_1_Sy_2", "Sy_2_Sy_2", "Sx_Sz", "correlation", "structure_factor")
    dimer = gain_loss_lattice.build(gain_loss_lattice.Params(cells=3, S=0.5, gain=0.6, loss=0.4))
    a, b = ((0.3, 0.2), (0.6, 0.7))
    options = trajectories.Options(
        task="evolve", times=(0, 1.5), trajectories=2, batch=1, observables=names, initial={"a": a, "b": b}
    )
    found = trajectories.run(dimer, options, 0, CONTEXT)
    (xa, ya, za), (xb, yb, zb) = (
        np.array([np.sin(np.pi * t) * np.cos(np.pi * p), np.sin(np.pi * t) * np.sin(np.pi * p), np.cos(np.pi * t)]) / 2
        for t, p in (a, b)
    )
    assert found["Sz_1"][0] == pytest.approx(zb, abs=1e-12)
    assert found["Sx_1_Sy_2"][0] == pytest.approx(xb * ya, abs=1e-12)
    assert found["Sy_2_Sy_2"] == pytest.approx([0.25, 0.25], abs=1e-12)
    # on one site SxSz = -iSy/2
    assert found["Sx_Sz"][:, 0] == pytest.approx([-0.25j * (ya + yb), (xa * za + xb * zb) / 2], abs=1e-12)
    assert found["structure_factor_xx"][0, :, 0] == pytest.approx([0.25 + 2 * xa * xa, 0.25 - xa * xa], abs=1e-12)
    for c in "xyz":
        here = found[f"correlation_{c}{c}"][..., 1]
        assert np.allclose(found[f"structure_factor_{c}{c}"][:, 0, 1], here @ [1, 2], atol=1e-12)
        assert np.allclose(found[f"structure_factor_{c}{c}"][:, 1, 1], here @ [1, -1], atol=1e-12)


def test_any_product_of_site_operators():
    """Products on three sites, on one site, not Hermitian, sums over sites, and the squeezing of the total spin."""
    items = (
        {"name": "hop", "product": [["S+", 0], ["Sz", 3], ["S-", 1]]},
        {"name": "square", "product": [["Sx", 2], ["Sy", 2], ["Sx", 2]]},
        {"name": "staggered", "sum": "Sz", "weights": "uniform"},
    )
    system, times = SYSTEMS["mixed"], (0.4, 1.5)
    options = trajectories.Options(
        task="evolve", times=times, trajectories=1600, batch=200, initial=(0.3, 0.2), observables=(*items, "squeezing")
    )
    found = reduced(system, options)
    on = lambda name, i: matrices.site_operator(system, name, i)
    operators = {
        "hop": on("S+", 0) @ on("Sz", 3) @ on("S-", 1),
        "square": on("Sx", 2) @ on("Sy", 2) @ on("Sx", 2),
        "staggered": sum(on("Sz", i) for i in range(4)),
    }
    exact = observables.plan(system, ("squeezing",), (observables.Dim("time", times),))
    density = density_matrices(system, options.initial, times)
    for name, operator in operators.items():
        value, error = found[name]
        wanted = np.array([np.trace(operator @ rho) for rho in density])
        assert np.all(np.abs(value - wanted) < 4 * np.sqrt(2) * error) and np.all(error < 0.03), name
    assert np.abs(found["hop"][0].imag).max() > 0.01 and np.isrealobj(found["square"][0])
    means = {
        name: np.stack([_of_state(system, mean, rho) for rho in density], axis=-1) for name, mean in exact.means.items()
    }
    wanted = exact.finish(means)
    for name in ("squeezing", "squeezing_minimum"):
        value, error = found[name]
        assert np.all(np.abs(value - wanted[name]) < 4 * error) and np.all(error < 0.03 * wanted[name]), name


def _of_state(system, mean, rho):
    """The array of a Mean in the state ρ."""
    values = [np.trace(observable_operator(system, element) @ rho).real for element in mean.elements.flat]
    return np.array(values).reshape(mean.shape)


def test_outputs_and_their_units():
    options = trajectories.Options(
        task="evolve",
        times=(1, 2),
        observables=("correlation", "structure_factor", "entanglement_entropy", "Sz_1", "Sx_1_Sy_2", "Sx_Sz"),
    )
    shapes = {o.name: (tuple(d.name for d in o.dims), o.units) for o in trajectories.outputs(CHAIN, options)}
    assert shapes["Sz"] == (("sublattice", "time"), "ħ") and shapes["Sz2"] == (("sublattice", "time"), "ħ²")
    assert shapes["correlation_xx"] == (("sublattice", "distance", "time"), "ħ²")
    assert shapes["structure_factor_zz"] == (("sublattice", "wavenumber", "time"), "ħ²")
    assert shapes["Sz_1"] == (("time",), "ħ") and shapes["Sx_1_Sy_2"] == (("time",), "ħ²")
    assert shapes["Sx_Sz"] == (("distance", "time"), "ħ²")
    assert shapes["entanglement_entropy"] == (("time",), "nats")


def test_what_is_not_supported():
    large = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=30, Jx=1, Jy=1))
    assert "1.1e+09" in trajectories.supports(large)
    open_chain = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=1, Jy=1, periodic=False))
    with pytest.raises(ValueError, match="correlation needs a system with a translation"):
        trajectories.records(open_chain, trajectories.Options(observables=["correlation"]))
    for observable, words in (("Sx_7", "numbered 0 to 3"), ("structure_factor", "needs a")):
        with pytest.raises(ValueError, match=words):
            trajectories.records(open_chain, trajectories.Options(observables=[observable]))
    with pytest.raises(ValueError, match="at least two sites"):
        trajectories.records(SYSTEMS["one spin"], trajectories.Options(observables=["entanglement_entropy"]))
    for wrong, words in (
        ({"times": (1, 2)}, "belongs to the tasks evolve and correlation, not to steady_state"),
        ({"task": "evolve"}, "times is missing"),
        ({"task": "evolve", "times": (1,), "burn_in": 2}, "belongs to the tasks steady_state and"),
        ({"sample_every": 300}, "no sample"),
        ({"observables": ["S_x"]}, "S_x is not known"),
        ({"tolerance": 0.5}, "less than or equal"),
    ):
        with pytest.raises(ValidationError, match=words):
            trajectories.Options(**wrong)
