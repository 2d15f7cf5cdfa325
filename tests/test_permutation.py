"""The permutation-symmetric method against the full 4^N space and closed forms."""

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest
from mpi4py import MPI
from scipy import linalg, sparse
from scipy.sparse import linalg as linalg_sparse

from hpcsim import solvers
from hpcsim.methods import Context, liouvillian, permutation
from hpcsim.methods.permutation import Options, dicke, extended
from hpcsim.methods.permutation.basis import Strings, sector_size
from hpcsim.methods.permutation.compile import compile_system
from hpcsim.methods.permutation.observables import STRINGS, angular_average
from hpcsim.models import all_to_all_xyz, gain_loss_lattice
from hpcsim.system import Jumps, System, Terms, matrices
from hpcsim.system.operators import local_operator

CONTEXT = Context(MPI.COMM_SELF, (0, 0), lambda: False)
PAULI = {a: local_operator("S" + a, 2).toarray() * 2 for a in "xyz"} | {"0": np.eye(2)}
LOCAL = dict(Jx=0.6, Jy=1.7, Jz=1.0, decay=1.0)
MIXED = dict(
    Jx=0.6,
    Jy=-0.9,
    Jz=1.3,
    decay=0.5,
    collective_decay=0.7,
    dephasing=0.4,
    pump=0.3,
    collective_pump=0.2,
    collective_dephasing=0.6,
)
FIELD = MIXED | dict(field=0.35, field_angle=0.2)
MODELS = {"local": LOCAL, "mixed": MIXED, "field": FIELD}
every_model = pytest.mark.parametrize("name", MODELS)


def model(N, **params):
    return all_to_all_xyz.build(all_to_all_xyz.Params(N=N, **params))


def run(system, record=None, **options):
    options = Options(**options)
    record = permutation.records(system, options)[0] if record is None else record
    return permutation.run(system, options, record, CONTEXT)


def independent(N, fields=(0.0, 0.0, 0.0), decay=0.0, pump=0.0, dephasing=0.0):
    """N spins in the Hamiltonian Σ fields·S that do not know of each other."""
    sites = np.arange(N)
    terms = tuple(Terms((f"S{a}",), sites[:, None], np.full(N, f)) for a, f in zip("xyz", fields))
    rates = {"S-": decay, "S+": pump, "Sz": dephasing}
    return System(np.full(N, 0.5), terms, tuple(Jumps(o, sites, np.full(N, r)) for o, r in rates.items()))


def sector_of(system, parity=None):
    moves = compile_system(system)
    return Strings(system.sites, int(moves.conserves_parity) if parity is None else parity, moves)


def product(labels):
    """The Pauli string on sites 0, 1, ...: (2^N, 2^N)."""
    return functools.reduce(np.kron, [PAULI[a] for a in labels])


@functools.cache
def full(name, N):
    """Liouvillian on column-stacked ρ, and the steady state, in the whole space."""
    system = model(N, **MODELS[name])
    L = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    D, rows = 2**N, L.copy()
    rows[0] = np.eye(D).ravel()
    return L, np.linalg.solve(rows, np.eye(D * D)[0]).reshape(D, D, order="F")


def embedding(sector):
    """Columns: the symmetric operator 2^-N Σ arrangements of every string, stacked: (4^N, size)."""
    columns = []
    for counts in sector.strings():
        labels = "".join(a * n for a, n in zip("0xyz", counts))
        columns.append(sum(product(s) for s in set(itertools.permutations(labels))).ravel("F") / 2**sector.N)
    return np.array(columns).T


def state_of(system, **options):
    """The even sector (or all) and the steady correlators."""
    sector = sector_of(system)
    return sector, solvers.steady_state(MPI.COMM_SELF, sector, {})[0]


# ------------------------------------------------------------------ the matrix


@pytest.mark.parametrize("N", [2, 3, 4])
@every_model
def test_rows_are_those_of_the_full_liouvillian_on_symmetric_operators(name, N):
    sector = sector_of(model(N, **MODELS[name]), 0)
    E, (L, _) = embedding(sector), full(name, N)
    assert sector.size == np.linalg.matrix_rank(E) == sector_size(N, 0)
    assert abs(L @ E - E @ sector.rows(0, sector.size).toarray()).max() < 1e-14


@pytest.mark.parametrize("operator", [("Sx", "Sz"), ("Sy", "Sx"), ("Sy", "Sy")])
def test_couplings_of_different_components(operator):
    """Σ over ordered pairs where the components differ, a pair once where they agree; fields along z too."""
    N = 3
    different, sites = operator[0] != operator[1], np.arange(N)
    pairs = np.array([(i, j) for i in range(N) for j in range(N) if i < j or i != j and different])
    system = System(
        np.full(N, 0.5),
        (Terms(operator, pairs, np.full(len(pairs), 0.7)), Terms(("Sz",), sites[:, None], np.full(N, 0.4))),
        (Jumps("Sx", sites, np.full(N, 0.3)), Jumps("Sy", sites, np.ones(1), collective=True)),
    )
    sector = sector_of(system, 0)
    L = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system))
    E = embedding(sector)
    assert abs(L @ E - E @ sector.rows(0, sector.size).toarray()).max() < 1e-14


def test_rows_of_local_decay_have_eight_entries_and_come_in_any_range():
    sector = sector_of(model(12, **LOCAL))
    whole = sector.rows(0, sector.size)
    assert np.diff(whole.indptr).max() == 8
    parts = [sector.rows(a, b).toarray() for a, b in [(0, 1), (1, 40), (40, sector.size)]]
    assert np.array_equal(np.vstack(parts), whole.toarray())
    assert sector.size + sector_of(model(12, **LOCAL), -1).size == 15 * 14 * 13 // 6


# ------------------------------------------------------------------ the steady state


@pytest.mark.parametrize("N", [2, 3, 5])
@every_model
def test_steady_state_against_the_full_space(name, N):
    """Every correlator up to fourth order, entropy, purity, bimodality and squeezing."""
    results, (_, rho) = run(model(N, **MODELS[name])), full(name, N)
    expected = [np.trace(rho @ product(s.ljust(N, "0"))).real if len(s) <= N else 0 for s in STRINGS]
    assert np.allclose(results["correlator"], expected, rtol=0, atol=1e-13)
    p = np.linalg.eigvalsh(rho)
    assert results["entropy"] == pytest.approx(-np.sum(p * np.log(p)) / N, abs=1e-13)
    assert results["purity"] == pytest.approx(np.sum(p**2), abs=1e-13)
    total = {a: sum(product("0" * i + a + "0" * (N - i - 1)) for i in range(N)) for a in "xyz"}
    for a in "xy":
        m2, m4 = (np.trace(rho @ np.linalg.matrix_power(total[a], k)).real for k in (2, 4))
        assert results[f"bimodality_{a}"] == pytest.approx(m2**2 / m4, abs=1e-13)
    assert results["squeezing"] == pytest.approx(squeezing(rho, total, N), rel=1e-8)
    assert abs(results["trace_error"]) < 1e-13 and results["negative_probability"] < 1e-14
    c = dict(zip(STRINGS, results["correlator"]))
    for key, of in {"Mz": "z", "Sxx": "xx", "Syy": "yy", "Szz": "zz", "Sxy": "xy"}.items():
        assert results[key] == pytest.approx(c[of], rel=1e-14, abs=1e-15)
    for a in "xyz":
        assert results[f"S{a}"] == pytest.approx(c[a] / 2)
        assert results[f"var_S{a}"] == pytest.approx(0.25 - c[a] ** 2 / 4)
    assert results["S_perp"] == pytest.approx(np.hypot(c["x"], c["y"]) / 2)


def squeezing(rho, total, N):
    """N min Var(J_n)/|⟨J⟩|² by brute force over directions n across ⟨J⟩."""
    mean = np.array([np.trace(rho @ total[a]).real / 2 for a in "xyz"])
    across = linalg.null_space(mean[None])
    least = np.inf
    for angle in np.linspace(0, np.pi, 20001):
        n = across @ [np.cos(angle), np.sin(angle)]
        if angle == 0:  # the covariance once; then only quadratic forms
            J = [total[a] / 2 for a in "xyz"]
            C = np.array([[np.trace(rho @ (A @ B + B @ A)).real / 2 for B in J] for A in J])
            C = C - np.outer(mean, mean)
        least = min(least, n @ C @ n)
    return N * least / (mean @ mean)


def test_local_decay_fixes_the_ratio_of_the_structure_factors():
    """Sxx/Syy = (Jy - Jz)/(Jz - Jx)."""
    results = run(model(30, Jx=0.6, Jy=1.25, Jz=1.0, decay=1.0))
    assert results["Sxx"] > 0.05
    assert results["Sxx"] / results["Syy"] == pytest.approx(0.25 / 0.4, rel=1e-12)


def test_a_sweep_reuses_the_symbolic_factorisation_and_gives_the_same_bits():
    """What was computed before, at another point of the run, leaves no trace, and a run keeps nothing for the next."""

    def solve(context, N, **params):
        system, options = model(N, **LOCAL | params), Options(solver="direct")
        return permutation.run(system, options, permutation.records(system, options)[0], context)

    context = Context(MPI.COMM_SELF, (0, 0), lambda: False)
    solve(context, 20, Jy=1.2)
    factorisation = context.cache.get(solvers.KEPT, dict)
    kept = factorisation.ksp
    later = solve(context, 20, Jy=1.7)
    assert factorisation.ksp is kept and context.cache.get(solvers.KEPT, dict) is factorisation
    solve(context, 8)
    assert factorisation.ksp is not kept and kept.handle == 0
    alone = solve(Context(MPI.COMM_SELF, (0, 0), lambda: False), 20, Jy=1.7)
    assert all(np.array_equal(later[name], alone[name]) for name in alone)
    last = factorisation.ksp
    context.cache.clear()
    assert factorisation.ksp is None and last.handle == 0


@pytest.mark.parametrize("params", [LOCAL, MIXED, FIELD], ids=MODELS)
def test_nested_dissection_needs_less_than_general_orderings(params):
    """Entries of the factors in the strings' own order against those in SuperLU's."""
    sector = sector_of(model(26, **params))
    matrix = sector.rows(0, sector.size).tocsc() - 1e-6 * sparse.identity(sector.size, format="csc")
    ours, theirs = (
        linalg_sparse.splu(matrix, permc_spec=order, diag_pivot_thresh=0, options={"SymmetricMode": True})
        for order in ("NATURAL", "MMD_AT_PLUS_A")
    )
    assert ours.nnz < 0.95 * theirs.nnz


@pytest.mark.parametrize("overshoot", [1.0, 1 + 1e-4, 1.9])
def test_refinement_goes_on_until_all_digits_are_there_or_tells_the_error(overshoot):
    """Corrections too large by a factor leave (overshoot - 1) of the error in each of at most twelve steps."""
    sector, e = state_of(model(8, **LOCAL))
    inverse = np.linalg.inv(sector.rows(0, sector.size).toarray() - 1e-14 * np.eye(sector.size))
    start = e * (1 + 1e-6 * np.cos(np.arange(sector.size)) * (e != 1))

    def solve(rest):
        return overshoot * (inverse @ rest)

    high, low, error = extended.refine(MPI.COMM_SELF, sector, solve, start)
    again = extended.refine(MPI.COMM_SELF, sector, solve, high)
    change = (high - again[0]) + (low - again[1])
    change -= change[sector.index(0, 0, 0)] * e  # Lx = 0 leaves x a factor
    assert (error < 1e-26 and abs(change).max() < 1e-24) if overshoot < 1.9 else error > 1e-8


@pytest.mark.parametrize("params", [LOCAL | {"Jy": 1.2}, LOCAL, MIXED, FIELD], ids=str)
def test_iterative_and_direct_solver_give_the_same_state(params):
    system = model(25, **params)
    direct, iterative = (run(system, solver=solver) for solver in ("direct", "iterative"))
    for name, value in direct.items():
        assert np.allclose(iterative[name], value, rtol=1e-11, atol=1e-13), name


def test_where_the_iterative_solver_fails_the_direct_one_is_taken_or_named():
    system = model(40, **LOCAL | {"Jy": 30.0})
    with pytest.raises(RuntimeError, match="take solver: direct"):
        run(system, solver="iterative")
    direct, auto = (run(system, solver=solver) for solver in ("direct", "auto"))
    assert all(np.array_equal(auto[name], direct[name]) for name in direct)


def test_independent_spins_in_closed_form():
    N, decay, pump, dephasing, fields = 60, 0.9, 0.4, 0.3, np.array([0.5, -0.2, 0.7])
    results = run(independent(N, fields, decay, pump, dephasing))
    # Bloch: dr/dt = fields × r - ((Γ + Γφ)/2 (x, y), Γ z) + (pump - decay) z, Γ = decay + pump
    transverse, longitudinal = (decay + pump + dephasing) / 2, decay + pump
    matrix = np.cross(fields, np.eye(3)).T - np.diag([transverse, transverse, longitudinal])
    r = np.linalg.solve(matrix, [0, 0, decay - pump])
    expected = [np.prod([r["xyz".index(a)] for a in s]) for s in STRINGS]
    assert np.allclose(results["correlator"], expected, rtol=1e-11, atol=1e-14)
    p = (1 + np.linalg.norm(r) * np.array([1, -1])) / 2
    assert results["entropy"] == pytest.approx(-p @ np.log(p), rel=1e-10)
    assert results["purity"] == pytest.approx((p @ p) ** N, rel=1e-10)


def test_spins_that_keep_their_total_length_have_no_unique_steady_state():
    system = model(4, Jx=0, Jy=0, Jz=0, collective_decay=1.0, field=0.3)
    with pytest.raises(ValueError, match="not unique, because .* sites 0 and 1 are exchanged"):
        permutation.records(system, Options())
    with pytest.raises(solvers.NotUnique, match="not unique"):
        run(system, record=0)
    with pytest.raises(RuntimeError, match="did not converge"):
        run(system, record=0, solver="iterative")


def test_driven_collective_spin_against_the_closed_form():
    """From all down only j = N/2 is reached: ρ ∝ (A A†)^-1 there, A = J- + iω/G (Puri and Lawande)."""
    N, drive, rate = 12, 1.1, 2.5
    system = model(N, Jx=0, Jy=0, Jz=0, field=drive / 2, collective_decay=rate * (N - 1))
    J = local_operator("S-", N + 1).toarray()
    inverse = np.linalg.inv(J + 1j * drive / rate * np.eye(N + 1))
    rho = inverse @ inverse.conj().T
    rho /= np.trace(rho)
    results = run(system, task="evolve", initial=(1, 0), times=[40.0], tolerance=1e-12)
    m, raising = np.diag(N / 2 - np.arange(N + 1)), J.T
    for name, operator in {"Sx": (raising + J) / 2, "Sy": (raising - J) / 2j, "Sz": m}.items():
        assert results[name][0, 0] == pytest.approx(np.trace(rho @ operator).real / N, abs=1e-10)
    assert results["purity"][0] == pytest.approx(np.trace(rho @ rho).real, abs=1e-9)
    # the same state by its Dicke blocks
    sector = sector_of(system)
    state = (sector.strings()[:, 1:3].sum(1) == 0) * (-1.0) ** sector.strings()[:, 3]
    *_, e = solvers.propagate(MPI.COMM_SELF, sector, state, [40.0], 1e-12, {})
    first, *others = dicke.blocks(sector, e, np.zeros_like(e))
    assert np.allclose(first, rho, atol=1e-9) and max(abs(b).max() for b in others) < 1e-9


# ------------------------------------------------------------------ spectrum


@pytest.mark.parametrize("name, N", [("local", 2), ("local", 5), ("mixed", 4), ("field", 3)])
def test_the_symmetric_spectrum_is_part_of_the_full_one(name, N):
    system, everything = model(N, **MODELS[name]), linalg.eigvals(full(name, N)[0])
    parities = permutation.records(system, Options(task="spectrum"))
    assert parities == ((0,) if name == "field" else (1, -1))
    values = []
    for parity in parities:
        sector = sector_of(system, parity)
        values.append(linalg.eigvals(sector.rows(0, sector.size).toarray()))
        found = run(system, parity, task="spectrum", eigenvalues=4)
        expected = values[-1][np.lexsort((-values[-1].imag, -values[-1].real.round(9)))][:4]
        assert np.allclose(found["eigenvalues"], expected[:4], atol=1e-9)
        assert found["gap"] == pytest.approx(-expected[int(parity >= 0)].real, abs=1e-9)
        assert found[{1: "gap_even", -1: "gap_odd", 0: "gap_even"}[parity]] == found["gap"]
    values = np.concatenate(values)
    assert len(values) == sector_size(N, 0)
    for value in values:
        assert abs(everything - value).min() < 1e-6  # defective pairs are right to sqrt(rounding)


@pytest.mark.parametrize("Jy, decay", [(0.8, 1.0), (1.2, 1.0), (2.0, 1.0), (3.2, 1.0), (2.8, 4.0)])
def test_which_sector_of_the_full_space_has_the_gap(Jy, decay):
    """For Jy > Jz the symmetric one with odd parity; below, one of operators that are not symmetric.

    The leading symmetric eigenvalues are eigenvalues of the sectors of zero momentum.
    """
    system = model(6, **LOCAL | {"Jy": Jy, "decay": decay})
    gaps = {parity: run(system, parity, task="spectrum")["gap"] for parity in (1, -1)}
    options, found = liouvillian.Options(task="spectrum"), {}
    for name in liouvillian.records(system, options):
        found[name] = liouvillian.run(system, options, name, CONTEXT)
    holder = min(found, key=lambda name: found[name]["gap"])
    assert gaps[-1] < gaps[1]
    if Jy < 1:
        assert found[holder]["gap"] < gaps[-1] - 0.005 and holder.momentum != 0
    else:
        assert found[holder]["gap"] == pytest.approx(gaps[-1], abs=1e-11) and holder.momentum == 0
    values = np.concatenate([f["eigenvalues"] for name, f in found.items() if name.momentum == 0])
    for parity in gaps:
        leading = run(system, parity, task="spectrum", eigenvalues=2)["eigenvalues"]
        assert all(abs(values - value).min() < 1e-9 for value in leading)


def test_krylov_and_dense_eigenvalues_agree(monkeypatch):
    system = model(7, **MIXED)
    sector = sector_of(system, -1)
    dense, _ = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 5, {})
    assert sector.size <= solvers.DENSE
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    krylov, residuals = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 5, {})
    assert np.allclose(krylov, dense, atol=1e-10) and residuals.max() < solvers.TOLERANCE


# ------------------------------------------------------------------ response and time


@pytest.mark.parametrize("params", [LOCAL, MIXED, FIELD], ids=MODELS)
def test_susceptibility_is_the_derivative_by_a_finite_field(params):
    N, h = 6, 1e-4
    base = model(N, **params)
    chi = run(base, susceptibility=True)["chi"]
    for b in range(2):
        means = []
        for sign in (1, -1):
            probe = Terms((("Sx",), ("Sy",))[b], np.arange(N)[:, None], np.full(N, 2 * sign * h))
            results = run(System(base.spins, (*base.hamiltonian, probe), base.jumps))
            means.append([2 * results["Sx"][0], 2 * results["Sy"][0]])
        assert np.allclose(chi[:, b], (np.array(means[0]) - means[1]) / (2 * h), rtol=1e-6, atol=1e-7)


def test_angular_average():
    chi = np.array([[1.3, -0.4], [0.2, 0.6]])
    angles = np.linspace(0, 2 * np.pi, 2001)[:-1]
    mean = np.linalg.norm(chi @ [np.cos(angles), np.sin(angles)], axis=0).mean()
    assert angular_average(chi) == pytest.approx(mean, abs=1e-12)
    assert run(model(3, **LOCAL), susceptibility=True)["chi_av"] > 0


@pytest.mark.parametrize("name, initial", [("mixed", (1.0, 0.0)), ("mixed", (0.3, 0.4)), ("field", (0.0, 0.0))])
def test_evolution_against_the_exponential_of_the_full_liouvillian(name, initial):
    N, times = 3, [0.0, 0.3, 1.1]
    system, (L, _) = model(N, **MODELS[name]), full(name, N)
    results = run(system, task="evolve", initial=initial, times=times, tolerance=1e-12)
    polar, azimuth = np.pi * np.array(initial)
    n = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    one = (np.eye(2) + sum(x * PAULI[a] for x, a in zip(n, "xyz"))) / 2
    start = functools.reduce(np.kron, [one] * N).ravel("F")
    for i, t in enumerate(times):
        rho = (linalg.expm(t * L) @ start).reshape(2**N, 2**N, order="F")
        expected = [np.trace(rho @ product(s.ljust(N, "0"))).real if len(s) <= N else 0 for s in STRINGS]
        assert np.allclose(results["correlator"][:, i], expected, rtol=0, atol=1e-9)
        assert results["purity"][i] == pytest.approx(np.trace(rho @ rho).real, abs=1e-9)


# ------------------------------------------------------------------ Dicke blocks


@every_model
def test_blocks_hold_the_eigenvalues_of_the_state(name):
    N = 5
    sector, e = state_of(model(N, **MODELS[name]))
    degeneracy = np.exp(dicke.log_degeneracies(N))
    assert np.allclose(degeneracy, [1, 4, 5])
    values = dicke.spectrum(sector, e, 0 * e)
    found = [np.repeat(v / np.sqrt(d), round(d)) for v, d in zip(values, degeneracy)]
    assert np.allclose(np.sort(np.concatenate(found)), np.linalg.eigvalsh(full(name, N)[1]), atol=1e-14)


def test_the_first_block_is_that_of_the_dicke_states():
    """With the signs of the ladder: the projection of ρ on the totally symmetric states."""
    N = 4
    sector, e = state_of(model(N, **FIELD))
    ladder = [np.zeros(2**N)]
    ladder[0][0] = 1
    lower = (
        sum(
            product("0" * i + "x" + "0" * (N - i - 1)) - 1j * product("0" * i + "y" + "0" * (N - i - 1))
            for i in range(N)
        ).real
        / 2
    )
    for _ in range(N):
        ladder.append(lower @ ladder[-1])
        ladder[-1] /= np.linalg.norm(ladder[-1])
    dickes = np.array(ladder).T
    assert np.allclose(dicke.blocks(sector, e, 0 * e)[0], dickes.T @ full("field", N)[1] @ dickes, atol=1e-14)


@pytest.mark.parametrize("axis, length", [("x", "0.8"), ("z", "-0.9"), ("z", "1")])
def test_product_states_of_many_spins(axis, length):
    """Degeneracies up to 1e58: entropy, purity and trace of (one spin of this length)^N, to all digits."""
    N, length = 200, Fraction(length)
    sector = Strings(N, 1 if axis == "z" else 0, compile_system(independent(N)))
    powers = [length**n for n in range(N + 1)]
    high = np.array([float(p) for p in powers])
    low = np.array([float(p - Fraction(h)) for p, h in zip(powers, high)])
    counts = sector.strings()
    n = counts[:, "0xyz".index(axis)]
    alone = counts[:, 1:].sum(1) == n
    p = np.array([1 + float(length), 1 - float(length)]) / 2
    found = dicke.summarise(sector, high[n] * alone, low[n] * alone)
    assert dicke.log_degeneracies(N).max() > np.log(1e56)
    assert found["entropy"] == pytest.approx(-np.sum(p[p > 0] * np.log(p[p > 0])), abs=1e-12)
    assert abs(found["trace_error"]) < 1e-12 and found["negative_probability"] < 1e-14
    assert dicke.purity(sector, high[n] * alone) == pytest.approx((p @ p) ** N, rel=1e-10)


@pytest.mark.parametrize("Jy", [1.1, 1.7, 30.0])
def test_steady_states_of_many_spins_are_states(Jy):
    """Every Dicke block positive, the trace one: high correlators must be right relative to themselves."""
    results = run(model(60, **LOCAL | {"Jy": Jy}))
    assert results["negative_probability"] < 1e-14 and abs(results["trace_error"]) < 1e-12
    assert 0 < results["entropy"] < np.log(2) and results["residual"] < 1e-15


# ------------------------------------------------------------------ what fits


def changed(N=4, **kw):
    base = model(N, **LOCAL)
    return System(**{"spins": base.spins, "hamiltonian": base.hamiltonian, "jumps": base.jumps} | kw)


PAIRS = np.column_stack(np.triu_indices(4, 1))
UNEQUAL = np.array([1, 1, 1, 1, 1, 1.5])


@pytest.mark.parametrize(
    "system, reason",
    [
        (gain_loss_lattice.build(gain_loss_lattice.Params(S=2, gain=1, loss=1)), "spin 1/2, not 2"),
        (gain_loss_lattice.build(gain_loss_lattice.Params(S=0.5, gain=1, loss=1, cells=2)), "2 of 6 pairs"),
        (changed(hamiltonian=(Terms(("Sx", "Sx"), PAIRS, UNEQUAL),)), "coupling Sx Sx is 1 for one pair"),
        (changed(hamiltonian=(Terms(("Sx", "Sy"), PAIRS, np.ones(6)),)), "6 of 12 pairs"),
        (changed(hamiltonian=(Terms(("Sx", "Sy", "Sz"), np.array([[0, 1, 2]]), np.ones(1)),)), "product of 3"),
        (changed(hamiltonian=(Terms(("Sx",), np.array([[0]]), np.ones(1)),)), "field Sx is 0 on one site and 1"),
        (changed(jumps=(Jumps("S-", np.arange(4), np.array([1, 1, 1, 2.0])),)), "the jump S- is 1 on one"),
        (changed(jumps=(Jumps("S-", np.arange(3), np.ones(1), collective=True),)), "the jump S- is 0 on one"),
    ],
    ids=range(8),
)
def test_what_is_not_symmetric_has_a_reason(system, reason):
    assert reason in permutation.supports(system)


def test_terms_of_several_families_add_up():
    """Symmetric together, though neither is alone; and squares of one spin's components are numbers."""
    half = Terms(("Sx", "Sx"), PAIRS[:3], np.ones(3)), Terms(("Sx", "Sx"), PAIRS[3:, ::-1], np.ones(3))
    assert permutation.supports(changed(hamiltonian=half[:1])) is not None
    squared = Terms(("Sx", "Sx"), np.vstack([PAIRS, [[0, 0]]]), np.append(np.ones(6), 5))
    whole = changed(hamiltonian=(squared,))
    assert permutation.supports(whole) is None


def test_sizes_and_costs_of_large_systems():
    system = model(200, **LOCAL)
    assert permutation.supports(system) is None
    steady, gap = (permutation.cost(system, Options(task=task), 1) for task in ("steady_state", "spectrum"))
    assert 1e9 < steady.bytes < 2e10 and steady.bytes < gap.bytes and steady.time < gap.time
    assert sector_size(200, 1) + sector_size(200, -1) == sector_size(200, 0) == 203 * 202 * 201 // 6


def test_options():
    assert Options(task="evolve", times={"linspace": [0, 1, 3]}).times == (0.0, 0.5, 1.0)
    for bad in (
        dict(task="evolve"),
        dict(times=[1.0]),
        dict(task="spectrum", susceptibility=True),
        dict(task="evolve", times=[1.0, 0.5]),
        dict(task="evolve", times=[1.0], initial=(2, 0)),
    ):
        with pytest.raises(ValueError):
            Options(**bad)


@pytest.mark.parametrize("parity, gap", [(1, 0.618255), (-1, 0.009652)])
def test_many_strongly_coupled_spins_decay(monkeypatch, parity, gap):
    """With unscaled strings these gaps are off by 1e-5 and 4e-6, and of 95 spins some have the wrong sign."""
    monkeypatch.setattr(permutation.spectrum, "_by_exponentials", lambda *_: 0.0)  # it is not certified, to save time
    system = all_to_all_xyz.build(all_to_all_xyz.Params(N=70, Jx=0.6, Jy=4, Jz=1, decay=1))
    result = permutation.run(
        system, permutation.Options(task="spectrum"), parity, Context(MPI.COMM_SELF, (0, 0), lambda: False)
    )
    assert result["residual"].max() < 1e-12
    assert result["gap"] == pytest.approx(gap, abs=1e-6)  # also with powers of 0.15 and 0.5 of the multinomial


def test_dicke_blocks_that_miss_the_trace_are_solved_directly_and_reported(monkeypatch):
    system = all_to_all_xyz.build(all_to_all_xyz.Params(N=12, Jx=0.6, Jy=1.2, Jz=1, decay=1))
    context = Context(MPI.COMM_SELF, (0, 0), lambda: False)
    monkeypatch.setattr(permutation, "TRACE", 0)  # below any error
    auto = permutation.run(system, permutation.Options(), 1, context)
    direct = permutation.run(system, permutation.Options(solver="direct"), 1, context)
    assert all(np.array_equal(auto[name], direct[name]) for name in direct) and "trace_error" in auto
    with pytest.raises(RuntimeError, match="take solver: direct"):
        permutation.run(system, permutation.Options(solver="iterative"), 1, context)
