"""Time evolution, distributions and both ends of the spectrum, against dense matrices and closed forms."""

import os
import subprocess
import sys

import numpy as np
import pytest
from mpi4py import MPI
from scipy import linalg
from test_liouvillian import CONTEXT, FURTHER, all_to_all, dimer, full, same_spectrum, solve_all, spin, xyz

from hpcsim import solvers
from hpcsim.methods import liouvillian
from hpcsim.methods.liouvillian import Options, antigap
from hpcsim.methods.liouvillian.symmetry import Name
from hpcsim.models import all_to_all_xyz, cavity_dimer, kerr_oscillator
from hpcsim.solvers import evolution
from hpcsim.system import Parity, matrices
from hpcsim.system.operators import local_operator


def product_state(system, directions):
    """Pure state of every spin along its direction: the lowest state of -n·S."""
    state = np.ones(1)
    for S, (polar, azimuth) in zip(system.spins, np.pi * np.array(directions)):
        x, y, z = (local_operator(name, round(2 * S) + 1).toarray() for name in ("Sx", "Sy", "Sz"))
        along = np.sin(polar) * (np.cos(azimuth) * x + np.sin(azimuth) * y) + np.cos(polar) * z
        state = np.kron(state, np.linalg.eigh(-along)[1][:, 0])
    return np.outer(state, state.conj())


def evolved(system, directions, t):
    rho = product_state(system, directions)
    return (linalg.expm(full(system) * t) @ rho.flatten("F")).reshape(rho.shape, order="F")


@pytest.mark.parametrize("integrator", solvers.STEPPERS)
@pytest.mark.parametrize(
    "system",
    [
        spin(3, drive=0.8, decay=1, dephasing=0.2),
        spin(2, decay=1, twist=0.6),
        dimer(1, 0.7, 1.1),
        dimer(1, 0.7, 0.7),
        dimer(0.5, 0.7, 0.7, cells=2, h=0.4),
        xyz(sites=3, Jz=0.3),
        xyz(sites=4),
        FURTHER["ring of 4, staggered U(1)"],
    ],
    ids=["driven", "twisted", "dimer", "balanced dimer", "chain", "ring of 3", "ring of 4", "staggered U(1)"],
)
def test_evolution_against_the_exponential_of_the_whole(system, integrator):
    directions = [(0.3, 0.2), (0.6, 0.7)][: len(system.sublattices)]
    initial = dict(zip(system.sublattices, directions))
    times, sites = (0.0, 0.4, 1.5), [np.flatnonzero(system.sublattice == s) for s in range(len(directions))]
    given = {"times": times, "initial": initial, "observables": ("squeezing",), "integrator": integrator}
    ((_, result),) = solve_all(system, task="evolve", **given)
    for at, t in enumerate(times):
        rho = evolved(system, [directions[s] for s in system.sublattice], t)
        total = []
        for a in "xyz":
            spins = [matrices.site_operator(system, f"S{a}", i).toarray() for i in range(system.sites)]
            total.append(sum(spins))
            mean = np.array([np.trace(each @ rho).real for each in spins])
            variance = np.array([np.trace(each @ each @ rho).real for each in spins]) - mean**2
            assert np.allclose(result[f"S{a}"][:, at], [mean[i].mean() for i in sites], atol=1e-8)
            assert np.allclose(result[f"var_S{a}"][:, at], [variance[i].mean() for i in sites], atol=1e-8)
        assert result["squeezing"][at] == pytest.approx(squeezing(total, rho, system.spins.sum()), rel=1e-6)


def squeezing(total, rho, S):
    """2S min Var(n·J)/|⟨J⟩|² over many directions n perpendicular to the mean."""
    mean = np.array([np.trace(each @ rho).real for each in total])
    first = np.cross(mean, [0.3, -0.5, 0.8])
    second = np.cross(mean, first)
    angles, least = np.linspace(0, np.pi, 4001), np.inf
    first, second = (sum(c * each for c, each in zip(v / np.linalg.norm(v), total)) for v in (first, second))
    xx, yy = (np.trace(each @ each @ rho).real for each in (first, second))
    xy = np.trace((first @ second + second @ first) @ rho).real / 2
    least = (xx * np.cos(angles) ** 2 + yy * np.sin(angles) ** 2 + xy * np.sin(2 * angles)).min()
    return 2 * S * least / (mean @ mean)


def test_dephasing_and_precession_in_closed_form():
    """⟨Sx⟩ = S exp(-Γφ t); a drive turns Sz into Sy at its rate; one S down gains and decays as it must."""
    times = (0.0, 0.5, 2.0)
    ((_, result),) = solve_all(spin(20, dephasing=0.7), task="evolve", times=times)
    assert np.allclose(result["Sx"][0], 20 * np.exp(-0.7 * np.array(times)), atol=1e-7)
    ((_, result),) = solve_all(spin(20, drive=0.9), task="evolve", times=times, initial=(0, 0))
    assert np.allclose(result["Sz"][0], 20 * np.cos(0.9 * np.array(times)), atol=1e-7)
    assert np.allclose(result["Sy"][0], -20 * np.sin(0.9 * np.array(times)), atol=1e-7)
    ((_, result),) = solve_all(spin(0.5, decay=1), task="evolve", times=times, initial=(0, 0))
    assert np.allclose(result["Sz"][0], np.exp(-2 * np.array(times)) - 0.5, atol=1e-8)  # (1/2S) 2 = 2


def test_one_axis_twisting_squeezes_as_kitagawa_and_ueda_found():
    """ξ² of H = χ Sx², from down: with N = 2S, A = 1 - cos^(N-2) 2χt, B = 4 sin χt cos^(N-2) χt:
    ΔS² = (N/4)[1 + (N-1)/4 (A - sqrt(A² + B²))] and |⟨S⟩| = (N/2) cos^(N-1) χt."""
    N, t = 40, 1.3
    chi = 1.0 / N  # twist/2S
    A, B = 1 - np.cos(2 * chi * t) ** (N - 2), 4 * np.sin(chi * t) * np.cos(chi * t) ** (N - 2)
    expected = (1 + (N - 1) / 4 * (A - np.hypot(A, B))) / np.cos(chi * t) ** (2 * N - 2)
    ((_, result),) = solve_all(
        spin(N / 2, twist=1.0), task="evolve", times=(t,), initial=(1, 0), observables=("squeezing",)
    )
    assert result["squeezing"][0] == pytest.approx(expected, abs=1e-7)
    assert expected < 0.5


def test_the_long_evolution_ends_in_the_steady_state():
    cavities = cavity_dimer.build(
        cavity_dimer.Params(S=0.5, detuning=1, Gc=0.6, G=0.5, decay_c=0.5, decay_a=1, decay_b=0.8)
    )
    for system, time in ((dimer(2, 0.7, 1.1), 80.0), (cavities, 200.0)):
        ((_, late),) = solve_all(system, task="evolve", times=(time,))
        ((_, steady),) = solve_all(system)
        for name in ("Sx", "Sz", "var_Sz", *(("n", "var_n") if np.any(system.cutoffs) else ())):
            assert np.allclose(late[name][:, 0], steady[name], atol=1e-6, equal_nan=True), name


def test_records_of_an_evolution_fill_the_declared_outputs():
    system, options = dimer(1, 0.7, 1.1), Options(task="evolve", times=(0.0, 1.0), observables=("squeezing",))
    result = liouvillian.run(system, options, liouvillian.HOME, CONTEXT)
    declared = {o.name: tuple(len(d.values) for d in o.dims) for o in liouvillian.outputs(system, options)}
    assert {name: np.shape(value) for name, value in result.items()} == declared


def test_joint_distribution_of_a_dimer():
    system = dimer(1.5, 0.5, 0.4)
    ((_, result),) = solve_all(system, observables=("P_ab",))
    P = result["P_ab"]
    m = 1.5 - np.arange(4)
    assert P.sum() == pytest.approx(1) and P.min() > 0
    assert np.allclose([P.sum(1) @ m, P.sum(0) @ m], result["Sz"])
    assert result["participation"] == pytest.approx(1 / (16 * np.sum(P**2)))
    assert result["impurity"] == pytest.approx(1 / (16 * result["purity"]))
    assert result["impurity"] < result["participation"]  # ρ has more than its diagonal


@pytest.mark.parametrize("U, F", [(0.0, 0.7), (1.0, 0.9)])
def test_quanta_of_the_driven_oscillator_in_closed_form(U, F):
    """Without U the coherent state α = -iF/(γ - iΔ); with U the moments of Drummond and Walls (1980)."""
    detuning, D, decay = 0.5, 2.0, 1.0
    params = kerr_oscillator.Params(detuning=detuning, U=U, F=F, D=D, decay=decay, cutoff=30)
    ((_, result),) = solve_all(kerr_oscillator.build(params), observables=("P_n",))
    n, drive = np.arange(30), np.sqrt(D) * F
    if U == 0:
        mean = drive**2 / (decay**2 + detuning**2)
        expected = np.exp(-mean) * np.cumprod(np.concatenate([[1], mean / n[1:]]))
    else:
        # ⟨c†^j c^j⟩ of H = -Δ n + χ c†c†cc + drive (c + c†), and p(n) = Σ_k (-1)^k ⟨c†^(n+k) c^(n+k)⟩ / n! k!
        chi = U / D
        c, z = (-detuning - 1j * decay) / chi, -drive / chi
        moments = np.array(
            [abs(z) ** (2 * j) / abs(np.prod(c + np.arange(j))) ** 2 * hyper(c, z, j) for j in range(60)]
        )
        moments /= moments[0]  # ⟨c†^j c^j⟩
        factorial = np.cumprod(np.concatenate([[1.0], np.arange(1, 90)]))
        expected = [
            sum((-1) ** k * moments[a + k] / (factorial[a] * factorial[k]) for k in range(40 - a)) for a in range(30)
        ]
    assert np.allclose(result["P_n"], expected, atol=1e-8)
    assert result["n"][0] == pytest.approx(result["P_n"] @ n)


def test_quanta_at_the_transition_where_two_states_are_nearly_steady():
    """⟨c†c⟩ and ⟨c†c†cc⟩ of D = 50, F = 1.76, whose second eigenvalue is 1e-11 of the norm."""
    U, detuning, D, F = 10.0, 10.0, 50.0, 1.76
    params = kerr_oscillator.Params(detuning=detuning, U=U, F=F, D=D, cutoff=110)
    ((_, result),) = solve_all(kerr_oscillator.build(params))
    c, z = (-detuning - 1j) * D / U, -np.sqrt(D) * F * D / U
    zero, one, two = (abs(z) ** (2 * j) / abs(np.prod(c + np.arange(j))) ** 2 * hyper(c, z, j) for j in range(3))
    mean, pairs = one / zero, two / zero
    assert 0.1 * D < mean < 0.5 * D
    assert result["n"][0] == pytest.approx(mean, rel=1e-4)
    assert result["var_n"][0] == pytest.approx(pairs + mean - mean**2, rel=1e-3)


def hyper(c, z, j):
    """Σ_k 2^k |z|^(2k) / (k! |(c + j)_k|²): 0F2(c + j, c* + j; 2|z|²)."""
    total = term = 1.0
    for k in range(300):
        term *= 2 * abs(z) ** 2 / ((k + 1) * abs(c + j + k) ** 2)
        total += term
    return total


MIRRORED = {
    "decay": all_to_all(decay=1),
    "decay of 3": all_to_all(N=3, decay=1),
    "pump": all_to_all(N=3, decay=1, pump=0.3),
    "dephasing": all_to_all(dephasing=1),
    "dephasing of 3": all_to_all(N=3, dephasing=1),
    "ring": xyz(sites=4, Jz=0.3),
}
NOT_MIRRORED = {
    "collective": (all_to_all(N=3, decay=0.4, collective_decay=0.6), "a sum of S-"),
    "decay and dephasing": (all_to_all(N=3, decay=1, dephasing=1), "one kind"),
    "field": (all_to_all(N=3, decay=1, field=0.6), "rotations"),
    "dimer": (dimer(1, 1, 1), "larger than 1/2"),
}


def defect(system, eta):
    """The largest distance of a mirrored eigenvalue from the nearest eigenvalue."""
    values = np.linalg.eigvals(full(system))
    return abs(np.subtract.outer(-2 * eta - values, values)).min(1).max()


@pytest.mark.parametrize("system", MIRRORED.values(), ids=MIRRORED)
def test_the_mirror_symmetry_and_both_ends(system):
    assert antigap.mirror(system) is None
    eta = antigap.mirror_point(system)
    assert defect(system, eta) < 1e-11
    union = []
    for odd in (0, 1):
        operator = antigap.ParityBlocks(system, odd)
        dense = np.array([operator.multiply(unit).copy() for unit in np.eye(operator.size)]).T
        union.append(np.linalg.eigvals(dense))
    assert same_spectrum(np.concatenate(union), np.linalg.eigvals(full(system))) < 1e-6
    if system.jumps[-1].operators == ("Sz",) and np.any(system.jumps[-1].rates):  # exp(iπ Σ Sz) is conserved
        with pytest.raises(solvers.NotUnique):
            [liouvillian.run(system, Options(task="antigap"), Name(0, odd), CONTEXT) for odd in (0, 1)]
        return
    results = [liouvillian.run(system, Options(task="antigap"), name, CONTEXT) for name in (Name(0, 0), Name(0, 1))]
    gap, fastest = min(r["gap"] for r in results), np.sort(np.concatenate([r["fastest"] for r in results]))
    anti = fastest[-1 - np.isnan(fastest).sum()] - fastest[-2 - np.isnan(fastest).sum()]
    values = np.sort(np.linalg.eigvals(full(system)).real)
    assert gap == pytest.approx(-values[-2], abs=1e-7) and anti == pytest.approx(values[1] - values[0], abs=1e-7)
    assert gap == pytest.approx(anti, abs=1e-7)


@pytest.mark.parametrize(
    "N, couplings, decay",
    [
        (2, (0.6, 1.4, 1), 1),
        (3, (0, 0, 0), 1),
        (4, (0, 0, 0), 1),
        (4, (0, 0, 1), 1),
        (4, (1, 1, 1), 1e-3),
        (4, (0.6, 1.4, 1), 8),
    ],
)
def test_both_ends_where_the_spectrum_is_wide_or_flat(N, couplings, decay):
    """Without coupling all eigenvalues are real: the other end must not come through the short time evolution."""
    system = all_to_all_xyz.build(all_to_all_xyz.Params(N=N, decay=decay, **dict(zip(("Jx", "Jy", "Jz"), couplings))))
    parity = Parity("z").action(system).on_basis(system.levels)[1]
    for odd, (_, found) in enumerate(solve_all(system, task="antigap")):
        inside = np.flatnonzero(np.outer(parity, parity).ravel() == 1 - 2 * odd)
        values = np.linalg.eigvals(full(system)[np.ix_(inside, inside)])
        gap = -np.sort(values.real)[-2 + odd]
        assert found["gap"] == pytest.approx(gap, abs=1e-7 * decay)
        far = np.sort(values.real)[: 2 - odd]
        assert np.allclose(found["fastest"][: len(far)], -far, rtol=0, atol=1e-7 * decay)


@pytest.mark.parametrize("system, reason", NOT_MIRRORED.values(), ids=NOT_MIRRORED)
def test_where_the_mirror_symmetry_fails_all_sectors_are_assembled(system, reason):
    assert defect(system, -np.linalg.eigvals(full(system)).mean().real) > 0.05
    assert reason in antigap.mirror(system)
    assert set(liouvillian.records(system, Options(task="antigap"))) == set(
        liouvillian.records(system, Options(task="spectrum"))
    )


def test_gap_of_all_sectors_names_the_one_that_holds_it():
    system = all_to_all_xyz.build(all_to_all_xyz.Params(N=5, Jx=0.6, Jy=1.4, Jz=1, decay=1))
    results = [result for _, result in solve_all(system, task="gap")]
    best = min(results, key=lambda result: np.nan_to_num(result["gap"], nan=np.inf))
    values = np.sort(np.linalg.eigvals(full(system)).real)
    assert best["gap"] == pytest.approx(-values[-2], abs=1e-9)
    ends = [result for _, result in solve_all(system, task="antigap")]
    assert min(result["gap"] for result in ends) == pytest.approx(best["gap"], abs=1e-7)


def test_options_belong_to_their_tasks():
    for options, message in (
        (dict(task="evolve"), "times is missing"),
        (dict(times=[0, 1]), "times belongs"),
        (dict(task="gap", eigenvalues=3), "eigenvalues belongs"),
        (dict(task="gap", observables=["P_ab"]), "belong"),
    ):
        with pytest.raises(ValueError, match=message):
            Options(**options)
    for system, options, message in (
        (spin(1, decay=1), dict(observables=["P_ab"]), "two spins"),
        (dimer(1, 1, 1), dict(observables=["P_n"]), "boson mode"),
        (dimer(60, 1, 1), dict(task="evolve", times=[1], observables=["entropy"]), "all of ρ at all times"),
        (dimer(1, 1, 1), dict(task="evolve", times=[1], initial={"a": [0, 0]}), "sublattices a, b"),
        (FURTHER["Kerr"], dict(observables=["squeezing"]), "boson modes"),
    ):
        with pytest.raises(ValueError, match=message):
            liouvillian.records(system, Options(**options))


def test_a_shell_matrix_needs_few_vectors():
    operator = antigap.ParityBlocks(all_to_all(N=6, decay=1), 0)
    values, errors, _ = solvers.end_of_spectrum(MPI.COMM_SELF, operator, True, 2, 1e-9, {})
    assert abs(values[0]) < 1e-8 and errors.max() < 1e-9


def test_ends_whose_residual_is_too_large_are_worked_on(monkeypatch):
    """The error of exp(tL) is what SLEPc sees; the residual of L is what is asked for."""
    system, attempts, dominant = all_to_all(N=6, decay=1), [], evolution.dominant

    def careless(*arguments):
        attempts.append(arguments[5])
        return dominant(*arguments[:5], 1e6 * arguments[5], *arguments[6:])

    wanted = [r for _, r in solve_all(system, task="antigap")]
    monkeypatch.setattr(evolution, "dominant", careless)
    found = [r for _, r in solve_all(system, task="antigap")]
    assert len(attempts) > 4
    for a, b in zip(wanted, found):
        assert b["gap"] == pytest.approx(a["gap"], abs=1e-9) and b["residual"] < 3e-9
    with pytest.raises(RuntimeError, match="is not below 3.0e-09: raise method.tolerance"):
        solve_all(system, task="antigap", petsc_options={"eps_tol": 0.1})


def test_the_very_first_run_of_an_installation_ends_well(tmp_path):
    """It compiles, and what that leaves behind must not keep PETSc's objects for longer than PETSc."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "model: {name: all_to_all_xyz, N: 3, Jx: 0.6, Jy: 1.4, Jz: 1.0, decay: 1.0}\n"
        "method: {name: liouvillian, task: antigap}\n"
    )
    fresh = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    done = subprocess.run(
        [sys.executable, "-m", "hpcsim", "run", path, "--out", tmp_path / "r.h5"],
        env=fresh,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
