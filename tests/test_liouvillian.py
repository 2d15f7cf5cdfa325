"""The exact method, sector by sector, against dense diagonalisation of the whole Liouvillian."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import mpirun, run_records
from mpi4py import MPI
from pydantic import ValidationError
from scipy import linalg, sparse
from scipy.optimize import linear_sum_assignment

from hpcsim import solvers
from hpcsim.compiled import interpreted
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import Options, exclusion, spectrum
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector, _numbered
from hpcsim.methods.liouvillian.symmetry import HOME, Name, Symmetries
from hpcsim.models import all_to_all_xyz, cavity_dimer, collective_spin, gain_loss_lattice, kerr_oscillator, xyz_lattice
from hpcsim.system import Parity, Transposition, WeakU1, charges, matrices
from hpcsim.system.operators import local_operator

CONTEXT = Context(MPI.COMM_SELF, (0, 0), lambda: False)


def dimer(S, gain, loss, **more):
    return gain_loss_lattice.build(gain_loss_lattice.Params(S=S, gain=gain, loss=loss, **more))


def spin(S, **more):
    return collective_spin.build(collective_spin.Params(S=S, **more))


def without(system, kind):
    return replace(system, symmetries=tuple(s for s in system.symmetries if not isinstance(s, kind)))


def xyz(**more):
    return xyz_lattice.build(xyz_lattice.Params(**{"convention": "lee2013", "Jx": 0.7, "Jy": 1.1, **more}))


def all_to_all(**more):
    return all_to_all_xyz.build(all_to_all_xyz.Params(**{"N": 4, "Jx": 0.6, "Jy": 1.2, "Jz": 1, **more}))


SYSTEMS = {
    "dimer 1/2": dimer(0.5, 0.7, 1.1),
    "dimer 1": dimer(1, 0.7, 1.1),
    "dimer 3/2": dimer(1.5, 1, 1),
    "dimer 2": dimer(2, 0.4, 0.3),
    "balanced dimer": dimer(1, 0.7, 0.7),
    "open chain": dimer(0.5, 0.7, 1.1, cells=2, h=0.4, periodic=False),
    "closed chain": dimer(0.5, 0.7, 1.1, cells=2, h=0.4),
    "driven": spin(3, drive=1.2, decay=1, dephasing=0.3),
    "twisted": spin(3, drive=1.2, decay=1, dephasing=0.3, twist=0.5),
    "decaying": spin(2, decay=1, dephasing=0.1),
    # the dimer with less of its symmetry declared: other bases, the same spectrum
    "dimer, U(1) only": replace(dimer(1, 0.7, 1.1), symmetries=(WeakU1(),)),
    "dimer, transposition only": replace(dimer(1, 0.7, 1.1), symmetries=(Transposition(np.array([1])),)),
    "dimer, no symmetry": replace(dimer(1, 0.7, 1.1), symmetries=()),
}
FEW = (WeakU1(), Transposition(np.array([1])))  # of a dimer with gain = loss, to have larger sectors
# many sectors: momenta with and without reflection, involutions that anticommute in some, boson modes
FURTHER = {
    "balanced chain": dimer(0.5, 0.7, 0.7, cells=2, h=0.4),
    "ring of 4": xyz(sites=4, Jz=0.3),
    "ring of 4, bipartite": xyz(sites=4),
    "ring of 4, staggered U(1)": xyz(sites=4, Jy=-0.7, Jz=0.2),
    "ring of 3, reflection undeclared": without(xyz(sites=3, Jz=0.3), Parity),
    "square": xyz(sites=[2, 2]),
    "chain of spins 1": xyz(convention="huber2021", sites=3, S=1, Jz=0.4, decay=0.8),
    "open square of gain and loss": dimer(0.5, 0.7, 0.7, cells=[1, 2], h=0.4, periodic=False),
    "open chain of 4": xyz(sites=4, periodic=False),
    "all to all": all_to_all(decay=1),
    "all to all, collective": all_to_all(decay=1, collective_decay=0.7),
    "all to all, pumped": all_to_all(decay=1, pump=1, N=3),
    "Kerr": kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=0.5, D=2, cutoff=8)),
    "Kerr without drive": kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=0, D=2, cutoff=8)),
    "cavities": cavity_dimer.build(cavity_dimer.Params(S=0.5, detuning=3, Gc=0.5, G=0.3, decay_a=1, decay_b=0.8)),
}
everywhere = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


def full(system):
    return matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()


def dense_sectors(system):
    """k -> the eigenvalues of the block of |m><n| with Q(m) - Q(n) = k of the full Liouvillian, k >= 0."""
    charge = charges(system)
    shift, L = np.subtract.outer(charge, charge).flatten("F"), full(system)
    return {k: np.linalg.eigvals(L[np.ix_(shift == k, shift == k)]) for k in range(shift.max() + 1)}


def dense_gap(system):
    """The gap and its k, from the whole spectrum but for one zero."""
    spectra = dense_sectors(system)
    spectra[0] = np.delete(spectra[0], np.argmin(abs(spectra[0])))
    gaps = {k: -values.real.max() for k, values in spectra.items() if len(values)}
    k = min(gaps, key=gaps.get)
    return gaps[k], k


def dense_steady_state(system):
    values, vectors = np.linalg.eig(full(system))
    D = round(system.dimension)
    rho = vectors[:, np.argmin(abs(values))].reshape((D, D), order="F")
    return rho / np.trace(rho)


def solve_all(system, **options):
    return run_records(liouvillian, system, Options(**options), CONTEXT)


def gap(system, **options):
    """(gap, k, parity) as `collect` reduces them."""
    results = [result for _, result in solve_all(system, task="spectrum", **options)]
    best = min(results, key=lambda result: result["gap"])
    return best["gap"], best["gap_k"], best["gap_parity"]


def same_spectrum(first, second):
    """The largest distance in the best pairing of two sets of eigenvalues."""
    assert len(first) == len(second)
    distance = abs(np.subtract.outer(first, second))
    return distance[linear_sum_assignment(distance)].max(initial=0)


def all_sectors(system):
    """Every sector with its own spectrum, and how many sectors have that or its conjugate."""
    built = operators(system)
    shifts = len(built.first) - 1
    copies = dict(built.symmetries.labels(shifts))
    for name in built.symmetries.names(shifts):
        yield Sector(built, name), copies[name.k, name.momentum]


@pytest.mark.parametrize("system", [*SYSTEMS.values(), *FURTHER.values()], ids=[*SYSTEMS, *FURTHER])
def test_the_sectors_together_have_the_spectrum_of_the_whole(system):
    union = []
    for sector, copies in all_sectors(system):
        if sector.size:
            values = np.linalg.eigvals(sector.rows(0, sector.size).toarray())
            union += [values] * (copies // 2 if sector.doubled else copies)
    whole = np.linalg.eigvals(full(system))
    # where eigenvectors coincide, rounding moves eigenvalues by its square root; not their low moments
    assert same_spectrum(np.concatenate(union), whole) < 1e-4
    for power in (1, 2, 3):
        scale = np.sum(abs(whole) ** power)
        assert abs(np.sum(np.concatenate(union) ** power) - np.sum(whole**power)) < 1e-11 * scale


def test_symmetries_divide_the_unknowns():
    """The sector of the steady state has nearly 1/(translations x involutions) of the |m><n|."""
    for system, involutions in ((dimer(6, 0.7, 0.7), 4), (xyz(sites=6, Jz=0.3), 6 * 4), (xyz(sites=6), 3 * 8)):
        built = operators(system)
        pairs = np.sum(np.diff(built.first).astype(float) ** 2)
        assert pairs / involutions < Sector(built, HOME).size < 1.4 * pairs / involutions


@everywhere
def test_rows_do_not_depend_on_how_they_are_divided(system):
    for sector, _ in all_sectors(system):
        cuts = sector.size * np.arange(4) // 3
        parts = [sector.rows(start, stop).toarray() for start, stop in zip(cuts, cuts[1:])]
        assert np.array_equal(np.vstack(parts), sector.rows(0, sector.size).toarray())


@pytest.mark.parametrize("name", ["balanced dimer", "closed chain", "twisted", "ring of 4", "Kerr"])
def test_kernels_give_the_same_rows_where_they_are_not_compiled(name):
    """Small sectors are set up in Python."""
    built, found = operators({**SYSTEMS, **FURTHER}[name]), []
    for small in (False, True):
        with interpreted(small):
            _, _, orbits, *unknowns = _numbered(built, HOME)
            sector = Sector(built, HOME)
            found.append((*orbits, *unknowns, sector.rows(0, sector.size).toarray()))
    assert all(np.array_equal(one, other) for one, other in zip(*found))


@everywhere
def test_the_trace_is_conserved(system):
    sector = Sector(operators(system), HOME)
    trace = sector.functional(sparse.identity(round(system.dimension), format="csr"), 0, sector.size)
    assert np.array_equal(trace, sector.trace(0, sector.size))
    assert abs(trace @ sector.rows(0, sector.size)).max() < 1e-13


@everywhere
def test_steady_state_against_the_null_vector_of_the_whole(system):
    rho = dense_steady_state(system)
    ((_, result),) = solve_all(system, task="steady_state")
    members = [np.flatnonzero(system.sublattice == s) for s in range(len(system.sublattices))]
    for a in "xyz":
        at = [matrices.site_operator(system, f"S{a}", i).toarray() for i in range(system.sites)]
        mean = np.array([np.trace(operator @ rho).real for operator in at])
        variance = np.array([np.trace(operator @ operator @ rho).real for operator in at]) - mean**2
        assert np.allclose(result[f"S{a}"], [mean[sites].mean() for sites in members], atol=1e-11)
        assert np.allclose(result[f"var_S{a}"], [variance[sites].mean() for sites in members], atol=1e-11)
        if a == "z":
            assert result["Mz"] == pytest.approx(np.mean(mean / system.spins), abs=1e-11)
    assert np.allclose(result["S_perp"], np.sqrt(result["Sx"] ** 2 + result["Sy"] ** 2))
    assert result["purity"] == pytest.approx(np.trace(rho @ rho).real, abs=1e-11)
    assert result["residual"] < 1e-13


def matrix_of(sector, x):
    """ρ = Σ_u x_u B_u in the product basis, element by element."""
    D = len(sector.operators.order)
    rho = np.zeros((D, D), complex)
    for i, j in np.ndindex(D, D):
        unit = sparse.coo_matrix(([1.0], ([i], [j])), (D, D))
        rho[i, j] = sector.overlaps(unit, 0, sector.size).conj() @ x  # conj(Tr B†|i><j|) = B_ij
    return rho


@everywhere
def test_the_steady_state_is_a_state(system):
    sector = Sector(operators(system), HOME)
    x, _ = solvers.steady_state(MPI.COMM_SELF, sector, {})
    rho = matrix_of(sector, x)
    assert np.allclose(sector.components(sparse.coo_matrix(rho), 0, sector.size), x)
    assert np.allclose(sector.diagonal(x, 0, sector.size), rho.diagonal())
    assert np.trace(rho) == pytest.approx(1)
    assert np.linalg.eigvalsh(rho).min() > -1e-13


@everywhere
def test_the_gap_and_its_sector_against_the_whole_spectrum(system):
    expected, k = dense_gap(system)
    found, found_k, _ = gap(system)
    assert (found, found_k) == (pytest.approx(expected, abs=1e-10), k)


@everywhere
def test_the_gap_is_that_of_the_whole_where_sectors_are_excluded(system):
    expected, k = dense_gap(system)
    results = [result for _, result in solve_all(system, task="gap")]
    best = min(results, key=lambda result: np.nan_to_num(result["gap"], nan=np.inf))
    assert (best["gap"], best["gap_k"]) == (pytest.approx(expected, abs=1e-10), k)
    assert not any(result["excluded_decay"] <= expected for result in results)


def logarithmic_norm(system, k):
    """Largest μ of (LΣ + ΣL†)/2 x = μ Σx in the block k of the full Liouvillian, Σ: B -> σ^(1/2) B σ^(1/2)."""
    rho = dense_steady_state(system)
    values, vectors = np.linalg.eigh((rho + rho.conj().T) / 2)
    values = np.maximum(values, 0) / values.max() + exclusion.FLOOR
    root = vectors * np.sqrt(values) @ vectors.conj().T
    charge = charges(system)
    inside = np.flatnonzero(np.subtract.outer(charge, charge).flatten("F") == k)
    metric, L = (matrix[np.ix_(inside, inside)] for matrix in (np.kron(root.T, root), full(system)))
    return linalg.eigvalsh((L @ metric + metric @ L.conj().T) / 2, metric)[-1]


# with and without the transposition that makes ρ real
@pytest.mark.parametrize(
    "system",
    [
        dimer(1.5, 1, 1),
        dimer(1, 0.2, 0.9),
        replace(dimer(1, 0.7, 1.1), symmetries=(WeakU1(),)),
        SYSTEMS["closed chain"],
        SYSTEMS["decaying"],
    ],
)
def test_the_decay_of_excluded_sectors_is_their_logarithmic_norm(system):
    weights = exclusion.weights(MPI.COMM_SELF, operators(system), {})
    for k, values in dense_sectors(system).items():
        if k > 0:
            expected = -logarithmic_norm(system, k)
            shown = exclusion.decay(weights, k, 0.95 * expected)
            assert 0.95 * expected <= shown < expected + 1e-6 * abs(expected)
            assert expected < -values.real.max() + 1e-9
            assert np.isnan(exclusion.decay(weights, k, 1.05 * expected))


def test_sectors_of_higher_k_start_from_the_gap_of_the_lower():
    system, options = dimer(4, 1, 1), Options(task="gap")
    records = liouvillian.records(system, options)
    needed = [liouvillian.needs(system, options, record) for record in records]
    assert (
        records[4] == Name(1)
        and needed == 4 * [(4,)] + [()] + [(4,)] + 15 * [(0, 1, 2, 3, 4, 5)]
        and all(records[i].k < 2 for i in needed[-1])
    )
    assert liouvillian.needs(system, Options(task="steady_state"), liouvillian.HOME) == ()
    # a slower decay elsewhere excludes more
    lower = replace(CONTEXT, earlier={0: {"gap": np.array(1e-3)}, 1: {"gap": np.array(np.nan)}})
    assert liouvillian.run(system, options, Name(2), lower)["excluded_decay"] > 1e-3
    upper = replace(CONTEXT, earlier={0: {"gap": np.array(0.5)}})
    assert np.isnan(liouvillian.run(system, options, Name(2), upper)["excluded_decay"])


def test_few_sectors_of_the_dimer_are_solved(monkeypatch):
    solved = []
    monkeypatch.setattr(
        spectrum,
        "_gap_of",
        lambda *given, solve=spectrum._gap_of: (solved.append(given[2].k), solve(*given))[1],
    )
    records = [record for record, _ in solve_all(dimer(4, 1, 1), task="gap")]
    assert len(records) == 4 + 2 + 15 and sorted(solved) == 4 * [0] + 2 * [1]
    solved.clear()
    ((_, result),) = solve_all(dimer(4, 1, 1), task="gap", sectors=[5])  # nothing to compare with
    assert result["gap_k"] == 5 and solved == [5, 5]


@pytest.mark.parametrize(
    "gain, loss, k, parity",
    [
        (1, 1, 1, 0),  # at gain = loss = g a coherence
        (0.3, 0.3, 0, 2),  # in the mixed phase a population
        (0.1, 0.5, 1, 0),  # oscillating: -0.25 ± 0.87i
        (0.1, 1.5, 4, 0),  # between up-up and down-down: k = 2S
    ],
)
def test_the_sector_that_holds_the_gap_of_the_dimer_varies(gain, loss, k, parity):
    system = dimer(2, gain, loss)
    expected, dense_k = dense_gap(system)
    assert dense_k == k
    assert gap(system) == (pytest.approx(expected, abs=1e-10), k, parity)
    assert gap(system, sectors=[k]) == (pytest.approx(expected, abs=1e-10), k, parity)
    others = [other for other in range(9) if other != k]
    assert gap(system, sectors=others)[0] > expected + 1e-6


# The eigenvalue of largest real part of these sectors is up to the 220th nearest to zero: a search around
# zero finds others, with a gap up to 14 % too large.
@pytest.mark.parametrize(
    "S, gain, loss, k", [(4, 0.1, 0.1, 1), (4, 0.1, 0.1, 4), (4, 0.02, 0.05, 4), (5, 0.02, 0.05, 5)]
)
def test_the_gap_of_a_sector_that_oscillates_fast(monkeypatch, S, gain, loss, k):
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    sector = Sector(operators(replace(dimer(S, gain, loss), symmetries=FEW)), Name(k))
    dense = np.linalg.eigvals(sector.rows(0, sector.size).toarray())
    slowest = dense[np.argmax(dense.real)]
    assert np.sum(abs(dense) < abs(slowest) - 1e-9) > 50
    values, residuals = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 6, {})
    assert np.allclose(values.real, np.sort(dense.real)[::-1][:6], rtol=0, atol=1e-9)
    assert residuals.max() < 1e-10


@pytest.mark.parametrize("parity", [0, 1])
def test_the_slowest_eigenvalues_of_a_strongly_driven_spin(monkeypatch, parity):
    """Its eigenvalues of largest real part rotate at multiples of the drive."""
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    sector = Sector(operators(spin(9, drive=10, decay=1)), Name(0, parity))
    dense = np.linalg.eigvals(sector.rows(0, sector.size).toarray())
    values, _ = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 8, {})
    assert np.allclose(values.real, np.sort(dense.real)[::-1][:8], rtol=0, atol=1e-9)
    assert abs(values.imag).max() > 15


def test_krylov_and_lapack_agree_on_a_sector(monkeypatch):
    sector = Sector(operators(dimer(2, 0.4, 0.3)), Name(1))
    assert sector.size <= solvers.DENSE
    dense, errors = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 5, {})
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    for options in ({}, {"st_pc_factor_mat_solver_type": "mumps"}):  # by SuperLU, and by MUMPS
        krylov, residuals = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 5, options)
        assert np.allclose(krylov, dense, rtol=0, atol=1e-11)
    assert max(errors.max(), residuals.max()) < 1e-11


def test_records_of_a_spectrum_fill_the_declared_outputs():
    system = dimer(1, 0.7, 1.1)
    options = Options(task="spectrum", eigenvalues=4)
    outputs = {output.name: output for output in liouvillian.outputs(system, options) if output.stored}
    results = dict(solve_all(system, task="spectrum", eigenvalues=4))
    assert list(results) == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)]
    for (k, parity, _), result in results.items():
        assert result.keys() == outputs.keys()
        for name, value in result.items():
            assert np.shape(value) == tuple(len(dim.values) for dim in outputs[name].dims)
            assert np.asarray(value).dtype == np.dtype(outputs[name].dtype)
        found = ~np.isnan(result["eigenvalues"])
        assert np.all(np.diff(result["eigenvalues"].real[found]) <= 0)
        assert np.all(result["sector_k"][found] == k) and np.all(result["sector_parity"][found] == parity)
    assert np.isnan(results[4, 0, 0]["eigenvalues"]).tolist() == [False, True, True, True]  # one unknown
    assert abs(results[HOME]["eigenvalues"][0]) < 1e-12 and results[HOME]["gap"] > 0.1


def test_one_eigenvalue_still_gives_the_gap():
    expected, k = dense_gap(dimer(1, 0.3, 0.3))
    assert gap(dimer(1, 0.3, 0.3), eigenvalues=1)[:2] == (pytest.approx(expected, abs=1e-10), k)


@pytest.mark.parametrize("S, drive", [(0.5, 0.3), (4, 1.0), (15, 1.7)])
def test_driven_collective_spin_against_its_closed_form(S, drive):
    """Puri and Lawande (1979): H = w Sx, standard rate G of S-: ρ = A⁻¹ (A⁻¹)† / Tr, A = S- + i w/G."""
    decay = 0.8
    down, Sx, Sy, Sz = (local_operator(name, round(2 * S) + 1).toarray() for name in ("S-", "Sx", "Sy", "Sz"))
    # (decay/2S) D[S-], D twice the standard form: G = decay/S
    inverse = np.linalg.inv(down + 1j * drive * S / decay * np.eye(len(down)))
    rho = inverse @ inverse.conj().T
    rho /= np.trace(rho).real
    ((_, result),) = solve_all(spin(S, drive=drive, decay=decay), task="steady_state")
    for name, operator in (("Sx", Sx), ("Sy", Sy), ("Sz", Sz)):
        mean = np.trace(operator @ rho).real
        assert result[name][0] == pytest.approx(mean, abs=1e-10)
        variance = np.trace(operator @ operator @ rho).real - mean**2
        assert result[f"var_{name}"][0] == pytest.approx(variance, abs=1e-10)
    assert result["purity"] == pytest.approx(np.trace(rho @ rho).real, abs=1e-10)


@pytest.mark.parametrize(
    "system",
    [
        dimer(3, 0, 1),  # loss on b, exchange: all down
        spin(3, decay=1),
        dimer(0.5, 0, 1, cells=2, h=0.3),
    ],
    ids=["dimer", "spin", "chain"],
)
def test_loss_alone_ends_in_the_state_all_down(system):
    ((_, result),) = solve_all(system, task="steady_state")
    assert np.allclose(result["Sz"], -system.spins[0]) and result["purity"] == pytest.approx(1)


@pytest.mark.parametrize(
    "system",
    [
        spin(3, drive=1),  # no dissipation: every function of H
        spin(3, dephasing=1),  # every population
        dimer(1, 1, 0, g=0),  # nothing happens to b
    ],
    ids=["driven", "dephased", "uncoupled"],
)
def test_a_steady_state_that_is_not_unique_is_refused(system):
    with pytest.raises(solvers.NotUnique, match="not unique"):
        liouvillian.run(system, Options(), HOME, CONTEXT)


def test_a_false_symmetry_is_refused_before_solving():
    broken = replace(spin(2, drive=1, decay=1), symmetries=(WeakU1(),))
    with pytest.raises(ValueError, match="WeakU1, but the Hamiltonian"):
        solve_all(broken)


def test_sectors_that_the_model_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"method.sectors: k = 5, but this model has the sectors 0..4"):
        liouvillian.records(dimer(1, 1, 1), Options(task="spectrum", sectors=[0, 5]))
    with pytest.raises(ValueError, match="no weak U"):
        liouvillian.records(spin(1, drive=1), Options(task="spectrum", sectors=[1]))
    assert liouvillian.records(dimer(1, 1, 1), Options(task="spectrum", sectors=[2, 0])) == (
        *((0, parity, 0) for parity in range(4)),
        (2, 0, 0),
        (2, 1, 0),
    )
    for sectors in ([], [-1], "some"):
        with pytest.raises(ValidationError, match="sectors"):
            Options(task="spectrum", sectors=sectors)


def test_petsc_options_reach_the_solver_and_stay_with_it(monkeypatch):
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    sector = Sector(operators(dimer(4, 0.02, 0.05)), Name(3))
    with pytest.raises(RuntimeError, match=r"of 6 eigenvalues of sector k = 3, .*eps_ncv"):
        solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 6, {"eps_max_it": 1, "eps_ncv": 20})
    _, residuals = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 6, {})
    assert residuals.max() < 1e-10


LOW_RANK = {"st_mat_mumps_icntl_35": 2, "st_mat_mumps_cntl_7": 1e-4}


def large_front():
    """22960 unknowns: MUMPS has no blocks that are large enough to be of low rank in fewer."""
    return Sector(operators(dimer(20, 1, 1)), Name(1))


@pytest.mark.parametrize(
    "petsc_options",
    [
        {"st_pc_factor_mat_solver_type": "superlu_dist"},
        {"st_mat_mumps_icntl_22": 1},  # factors on disk
        LOW_RANK | {"st_ksp_type": "gmres", "st_ksp_rtol": 1e-12},  # refined by every solve
    ],
    ids=["SuperLU_DIST", "out of core", "low rank"],
)
def test_other_factorisations_give_the_same_gap(petsc_options):
    values, residuals = solvers.leading_eigenvalues(MPI.COMM_SELF, large_front(), 1, petsc_options)
    assert values[0] == pytest.approx(-0.0349444384, abs=1e-9) and residuals.max() < 1e-10  # by MUMPS


def test_low_rank_factors_are_less_accurate_where_nothing_refines_them():
    """Hence the option reached MUMPS, and the residual shows what it costs."""
    _, residuals = solvers.leading_eigenvalues(MPI.COMM_SELF, large_front(), 1, LOW_RANK)
    assert 1e-9 < residuals.max() < 1e-3


def test_a_subspace_too_small_is_enlarged(monkeypatch):
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    sector = Sector(operators(replace(dimer(4, 0.1, 0.1), symmetries=FEW)), Name(1))
    expected, _ = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 6, {})
    small = {"eps_max_it": 3, "eps_ncv": 50}  # takes about 50 restarts
    values, _ = solvers.leading_eigenvalues(MPI.COMM_SELF, sector, 6, small)
    assert np.allclose(values.real, expected.real, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "system, tolerance",
    [
        (dimer(6, 0.7, 0.4), 0.2),
        (dimer(6, 0.7, 0.7), 0.4),
        (xyz(sites=6, Jz=0.3), 0.25),
        (FURTHER["cavities"], 0.01),
        (without(xyz(sites=6, Jz=0.3), Parity), 0.2),
    ],
)
def test_unknowns_are_counted_without_building_anything(system, tolerance):
    counted = liouvillian.unknowns_of(system, Symmetries(system), HOME)
    assert counted == pytest.approx(Sector(operators(system), HOME).size, rel=tolerance)


def test_cost_grows_with_the_system_and_is_about_right():
    def bytes_of(S, record, **options):
        return liouvillian.cost(dimer(S, 1, 0.9), Options(**options), record).bytes

    spectrum = bytes_of(30, HOME, task="spectrum")
    assert 420e6 < spectrum < 600e6  # 442 MB measured
    assert bytes_of(30, HOME) < spectrum < bytes_of(30, Name(1), task="spectrum")
    assert bytes_of(60, HOME) > 10 * bytes_of(30, HOME)
    on_disk = Options(task="gap", petsc_options={"st_mat_mumps_icntl_22": 1})
    assert 400e6 < liouvillian.cost(dimer(40, 1, 1), on_disk, Name(1)).bytes < 700e6  # 480 MB measured
    assert 1.1e9 < liouvillian.cost(dimer(40, 1, 1), Options(task="gap"), Name(1)).bytes < 1.7e9  # 1.34 GB
    times = [liouvillian.cost(dimer(S, 1, 1), Options(), HOME).time for S in (1, 4, 16)]
    assert times == sorted(times)


def test_what_no_direct_solver_can_hold_is_not_supported():
    assert liouvillian.supports(dimer(60, 1, 1)) is None
    assert liouvillian.supports(dimer(0.5, 1, 1, cells=4)) is None
    for system in (dimer(1000, 1, 0.9), dimer(5000, 1, 1, cells=500), spin(40000, drive=1, decay=1)):
        assert "unknowns" in liouvillian.supports(system)


LONE_RANK = """
from pathlib import Path
from mpi4py import MPI
from hpcsim.methods import Context, liouvillian
from hpcsim.models import gain_loss_lattice

def caught():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(line for line in status if line.startswith("SigCgt"))

group = MPI.COMM_WORLD.Split(MPI.COMM_WORLD.rank)
if MPI.COMM_WORLD.rank == 1:
    system = gain_loss_lattice.build(gain_loss_lattice.Params(S=1, gain=1, loss=1))
    before = caught()
    liouvillian.run(system, liouvillian.Options(), liouvillian.HOME, Context(group, (0, 0), lambda: False))
    print("the same handlers" if caught() == before else before + " became " + caught())
"""


def test_a_group_that_solves_needs_no_other_and_leaves_signals_alone(tmp_path):
    """PETSc is initialised on the group's communicator, and its signal handlers are not."""
    script = tmp_path / "lone_rank.py"
    script.write_text(LONE_RANK)
    done = mpirun(2, [script], timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "the same handlers"), done.stdout + done.stderr


@pytest.mark.parametrize("system", [xyz(sites=4, Jz=0.4), dimer(0.5, 0.7, 1.1, cells=2, h=0.4)], ids=["ring", "cells"])
def test_correlations_against_the_distance(system):
    """⟨S_a S_a'⟩ of every sublattice from the whole density matrix."""
    rho = linalg.null_space(
        matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    )[:, 0]
    rho = rho.reshape(round(system.dimension), -1, order="F")
    rho /= np.trace(rho)
    found = liouvillian.run(system, Options(observables=["correlation"]), HOME, CONTEXT)
    cell = len(system.sublattices)
    for k in range(cell):
        for s in range(system.sites // cell // 2 + 1):

            def pair(first, second):
                return np.mean(
                    [
                        np.trace(
                            matrices.site_operator(system, first, i)
                            @ matrices.site_operator(system, second, (i + cell * s) % system.sites)
                            @ rho
                        ).real
                        for i in range(k, system.sites, cell)
                    ]
                )

            for a in "xyz":
                assert found[f"correlation_{a}{a}"][k, s] == pytest.approx(pair(f"S{a}", f"S{a}"), abs=1e-9)
            assert found["correlation"][k, s] == pytest.approx(pair("S+", "S-"), abs=1e-9)
