"""Gaps and slowest eigenvalues are those of the whole spectrum, however weak the damping, and say what shows it."""

import importlib.util
import logging
from dataclasses import replace

import numpy as np
import pytest
import xarray
import yaml
from conftest import ROOT
from mpi4py import MPI
from scipy import linalg, sparse
from test_liouvillian import CONTEXT, dense_gap, dimer

from hpcsim import cli, solvers
from hpcsim.methods import Cache, liouvillian
from hpcsim.methods.liouvillian import Options, certificate, exclusion, spectrum
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name
from hpcsim.models import spin_network
from hpcsim.observables import Output, reduced
from hpcsim.solvers import lanczos
from hpcsim.solvers.series import Series, extent

SLOW = {
    "sites": 2,
    "S": 2,
    "Jx": -2.6114,
    "Jy": -2.9281,
    "Jz": 2.7692,
    "edges": [[0, 1, 0.741]],
    "field_z": [1.13, -0.3158],
    "decay": [0.003, 0.0],
}
GAP = 0.00039945  # of λ = -0.00039945 ± 5.735i, by diagonalisation of the whole


def script():
    spec = importlib.util.spec_from_file_location("certified_gaps", ROOT / "jobs" / "benchmarks" / "certified_gaps.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fresh():
    return replace(CONTEXT, cache=Cache())


@pytest.mark.parametrize("task", ["gap", "spectrum"])
def test_a_slow_eigenvalue_far_from_the_real_axis_is_found(tmp_path, task):
    """From the config to the collected file."""
    config = {"model": {"name": "spin_network", **SLOW}, "method": {"name": "liouvillian", "task": task}}
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(config))
    assert cli.main(["run", str(tmp_path / "slow.yaml"), "--out", str(tmp_path / "run.h5")]) == 0
    assert cli.main(["collect", str(tmp_path / "slow.h5"), str(tmp_path / "run.h5")]) == 0
    found = xarray.load_dataset(tmp_path / "slow.h5", engine="h5netcdf")
    assert found["gap"] == pytest.approx(GAP, abs=1e-8)
    assert found["certified"] == 1 and found["certificate"] == certificate.WHOLE
    assert (found["gap_k"], found["gap_parity"]) == (0, 0)
    if task == "spectrum":
        assert abs(found["eigenvalues"].values.imag).max() == pytest.approx(5.735, abs=1e-3)


def test_the_search_finds_it_too_and_its_bound_shows_it(monkeypatch):
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    monkeypatch.setattr(certificate, "QUICK", 0)
    monkeypatch.setattr(certificate, "LAPACK", 0)
    system = spin_network.build(spin_network.Params(**SLOW))
    found = liouvillian.run(system, Options(task="gap"), HOME, fresh())
    assert found["gap"] == pytest.approx(GAP, abs=1e-8)
    assert found["certificate"] == certificate.BOUND and found["certified_decay"] >= found["gap"] * (1 - 1e-7)


def test_without_more_eigenvalues_it_is_not_certified_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    monkeypatch.setattr(certificate, "MORE", ())
    monkeypatch.setattr(certificate, "LAPACK", 0)
    system = spin_network.build(spin_network.Params(**SLOW))
    with caplog.at_level(logging.WARNING, "hpcsim"):
        found = liouvillian.run(system, Options(task="gap"), HOME, fresh())
    assert found["certified_decay"] < GAP
    assert "may be missing" in caplog.text


@pytest.mark.parametrize("decay", [1e-4, 1e-3])
def test_weakly_damped_systems_have_a_zero(decay):
    """The steady state's eigenvalue was sometimes not among those found."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        couplings = dict(zip(("Jx", "Jy", "Jz"), (2 * rng.normal(size=3)).tolist()))
        system = spin_network.build(
            spin_network.Params(sites=2, S=1.5, decay=decay, field_z=rng.normal(size=2).tolist(), **couplings)
        )
        expected, _ = dense_gap(system)
        results = [
            liouvillian.run(system, Options(task="gap"), record, fresh())
            for record in liouvillian.records(system, Options(task="gap"))
        ]
        assert min(result["gap"] for result in results) == pytest.approx(expected, rel=1e-6)
        assert all(result["certified_decay"] >= expected for result in results)


def test_a_zero_that_the_search_misses_is_put_in(monkeypatch):
    system = dimer(1, 0.7, 1.1)
    found = certificate.Slowest(np.array([-0.3 + 0j, -0.5]), np.zeros(2), 0.0, certificate.NOTHING)
    monkeypatch.setattr(certificate, "slowest", lambda *given: found)
    values = spectrum.spectrum(system, Options(task="spectrum", eigenvalues=3), HOME, fresh())
    assert values["eigenvalues"].tolist() == [0, -0.3, -0.5] and values["gap"] == 0.3
    assert values["certified_decay"] == 0


class Plain:
    """A matrix in the Euclidean inner product."""

    rounding = 0.0

    def __init__(self, matrix):
        self.matrix, self.size = matrix, matrix.shape[0]

    def enter(self, x):
        return x

    start = dual = enter

    def product(self, x):
        return self.matrix @ x

    def adjoint(self, x):
        return self.matrix.T @ x

    def evolved(self, f, x):
        return f(self.matrix, x)

    def evolved_back(self, f, z):
        return f(self.matrix.T.tocsr(), z)


def slow_and_not_normal(seed: int):
    """A matrix whose eigenvalues are -0.1 and others below -1, beside which vectors grow before they decay."""
    rng = np.random.default_rng(seed)
    n = 60
    matrix = np.diag(-rng.uniform(1, 3, n)) + 0.2 * np.triu(rng.standard_normal((n, n)), 1)
    for i in range(0, n - 1, 7):  # pairs that oscillate
        matrix[i + 1, i + 1] = matrix[i, i]
        matrix[i : i + 2, i : i + 2] += [[0, 9], [-9, 0]]
    matrix[0, :] = matrix[:, 0] = 0
    matrix[0, 0] = -0.1
    return sparse.csr_matrix(matrix), -np.linalg.eigvals(matrix[1:, 1:]).real.max()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_shown_of_the_rest_is_its_logarithmic_norm(seed):
    rng = np.random.default_rng(seed)
    n = 60
    matrix = np.diag(-rng.uniform(1, 3, n)) + 0.1 * rng.standard_normal((n, n))
    matrix[0, :] = matrix[:, 0] = 0
    matrix[0, 0] = -0.1  # an eigenvector to find
    norm = -np.linalg.eigvalsh((matrix + matrix.T)[1:, 1:] / 2).max()
    found = np.eye(n)[:, :1]
    shown = solvers.Rest(Plain(matrix), found).decay(0.9 * norm)
    assert 0.9 * norm <= shown <= norm
    assert solvers.Rest(Plain(matrix), found).decay(1.01 * norm) == 0
    assert solvers.Rest(Plain(matrix), found[:, :0]).decay(0.2) == 0
    assert 0.05 <= solvers.Rest(Plain(matrix), found[:, :0]).decay(0.05) <= 0.1
    # a space that the matrix does not keep shows nothing
    assert solvers.Rest(Plain(matrix), found + 0.1 * np.eye(n)[:, 1:2]).decay(0.5 * norm) == 0


@pytest.mark.parametrize("seed", range(4))
def test_what_is_not_normal_dies_out_in_time(seed):
    """What no logarithmic norm shows; and nothing is shown that is not so, nor by too much work."""
    matrix, rate = slow_and_not_normal(seed)
    rest = solvers.Rest(Plain(matrix), np.eye(matrix.shape[0])[:, :1])
    assert rest.decay(0.5 * rate) == 0
    assert 0.5 * rate <= rest.decay_in_time(0.5 * rate, np.inf) <= rate
    assert rest.decay_in_time(1.01 * rate, np.inf) == 0
    assert rest.decay_in_time(0.5 * rate, 1000) == 0
    whole = solvers.Rest(Plain(matrix), np.zeros((matrix.shape[0], 0)))
    assert whole.decay_in_time(0.11, np.inf) == 0 and 0.05 <= whole.decay_in_time(0.05, np.inf) <= 0.1
    tilted = np.eye(matrix.shape[0])[:, :1] + 0.01 * np.eye(matrix.shape[0])[:, 1:2]
    assert solvers.Rest(Plain(matrix), tilted).decay_in_time(0.5 * rate, np.inf) == 0


@pytest.mark.parametrize("n, top", [(1, 2.0), (15, 0.0), (40, 1.0), (300, 5.0)])
def test_a_bound_of_the_largest_eigenvalue_is_one_and_is_close(n, top):
    matrix = np.random.default_rng(n).standard_normal((n, n))
    matrix += matrix.T
    matrix += (top - np.linalg.eigvalsh(matrix)[-1]) * np.eye(n)
    width = np.ptp(np.linalg.eigvalsh(matrix))
    most = top + 3 * width + 1
    assert top <= lanczos.bound(lambda x: matrix @ x, n, most) <= top + 0.3 * (width + most / 10)
    assert lanczos.bound(lambda x: matrix @ x, n, top + 0.001) == pytest.approx(top + 0.001, abs=0.002)
    assert lanczos.bound(np.zeros_like, n, 0.0) == 0


@pytest.mark.parametrize("damping, coupling", [(40, 3), (3, 40), (20, 20), (5, 0), (0.1, 30)])
@pytest.mark.parametrize("time", [0.01, 0.3, 4.0])
def test_the_series_is_the_exponential_where_eigenvalues_are(damping, coupling, time):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 30, 30))
    matrix = coupling * (a - a.T) / np.linalg.norm(a, 2) - damping * b @ b.T / np.linalg.norm(b, 2) ** 2
    values = np.linalg.eigvals(matrix)
    matrix, rate = sparse.csr_matrix(matrix), np.median(-values.real)
    f = Series(extent(matrix), time, rate)
    exact = linalg.expm(time * matrix.toarray())
    found = np.array([f(matrix, x) for x in np.eye(30)]).T
    assert np.linalg.norm(found - exact, 2) < f.error
    # a normal matrix shows the bound itself: f of its eigenvalues
    slow = values[-values.real <= rate]
    normal = sparse.csr_matrix(linalg.block_diag(*([[v.real, v.imag], [-v.imag, v.real]] for v in slow)))
    moduli = abs(np.linalg.eigvals(np.array([f(normal, x) for x in np.eye(2 * len(slow))]).T))
    expected = np.exp(time * np.repeat(slow.real, 2))
    assert np.all(np.sort(moduli) >= (1 - f.error) * np.sort(expected))


def test_a_spectrum_that_no_logarithmic_norm_shows_is_certified(monkeypatch):
    """Nothing is found beyond the eigenvalues asked for, and nothing computed whole."""
    system, options = dimer(3, 0.5, 1.5), Options(task="spectrum", eigenvalues=5)
    expected = liouvillian.run(system, options, HOME, fresh())
    assert expected["certificate"] == certificate.WHOLE
    for name, value in dict(MORE=(), LAPACK=0).items():
        monkeypatch.setattr(certificate, name, value)
    monkeypatch.setattr(solvers.eigenvalues, "DENSE", 0)
    found = liouvillian.run(system, options, HOME, fresh())
    assert np.allclose(found["eigenvalues"], expected["eigenvalues"], atol=1e-8)
    assert found["certificate"] == certificate.BOUND and found["certified_decay"] >= -found["eigenvalues"][-1].real
    monkeypatch.setattr(certificate, "EACH", 0)
    monkeypatch.setattr(certificate, "ALL", 0)
    assert liouvillian.run(system, options, HOME, fresh())["certified_decay"] < -found["eigenvalues"][-1].real


@pytest.mark.parametrize("name", [HOME, Name(0, 1), Name(1), Name(2)], ids=str)
@pytest.mark.parametrize("metric", [exclusion.Quick, exclusion.Precise])
def test_both_inner_products_have_the_spectrum_and_adjoint_of_the_sector(name, metric):
    """Blocks of one and of several unknowns, with and without a gauge that makes them real."""
    for system in (dimer(1.5, 0.6, 0.6), dimer(1, 0.7, 1.1), spin_network.build(spin_network.Params(**SLOW))):
        built = operators(system)
        if name not in built.symmetries.names(len(built.first) - 1):
            continue
        sector = Sector(built, name)
        L = metric(exclusion.Contraction(exclusion.weights(MPI.COMM_SELF, built, {}), sector))
        rng = np.random.default_rng(1)
        x, y = rng.standard_normal((2, sector.size))
        scale = abs(sector.rows(0, sector.size)).sum(1).max() * np.sqrt(x @ L.dual(x) * (y @ L.dual(y)))
        assert abs(L.dual(y) @ L.product(x) - L.dual(x) @ L.adjoint(L.dual(y))) < 1e-8 * scale
        assert np.allclose(x @ L.dual(y), y @ L.dual(x)) and x @ L.dual(x) > 0
        once = L.product(L.enter(x))
        assert np.allclose(once, L.enter(L.of.matrix @ x), rtol=0, atol=1e-8 * abs(once).max())


def test_certified_is_what_the_smallest_bound_of_all_records_reaches():
    rows = {"bound": np.array([0.3, np.inf, 0.2]), "gap": np.array([0.2, np.nan, 0.25])}
    output = Output("certified", reduce="reaches", sources=("bound", "gap"))
    assert not output.stored
    assert reduced(output, rows.__getitem__)[0] == 1
    rows["bound"][2] = 0.19
    assert reduced(output, rows.__getitem__)[0] == 0
    rows = {"bound": np.array([0.9, 0.8]), "values": np.array([[0, -0.5 + 1j], [-0.7, -2]])}
    listed = replace(output, sources=("bound", "values"))
    assert reduced(listed, rows.__getitem__)[0] == 1  # 0 and -0.5 are kept
    rows["values"][0, 1] = -0.85 + 1j
    assert reduced(listed, rows.__getitem__)[0] == 1  # -0.7 takes its place
    rows["bound"][0] = 0.6
    assert reduced(listed, rows.__getitem__)[0] == 0


def test_random_systems_against_the_whole_spectrum():
    """The benchmark's campaign, small: every second system by the search alone."""
    certified = []
    for _, kind, damping, search_only, result in script().campaign(20, seed=11):
        about = f"{kind}, damping {damping:.1e}, search only: {search_only}: {result}"
        assert "refused" not in result, about
        if result["certified"] or not search_only:
            assert result["gap_error"] <= 1, about
        if result["certified_list"] or not search_only:
            assert result["error"] <= 1, about
        assert result["certified"] or search_only, about
        certified.append(result["certified"])
    assert np.mean(certified) > 0.7
