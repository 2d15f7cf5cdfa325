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
from test_liouvillian import CONTEXT, dense_gap, dimer

from hpcsim import cli, solvers
from hpcsim.methods import Cache, liouvillian
from hpcsim.methods.liouvillian import Options, certificate, exclusion, spectrum
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name
from hpcsim.models import spin_network
from hpcsim.observables import Output, reduced

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
        self.matrix, self.size = matrix, len(matrix)

    def enter(self, x):
        return x

    start = dual = enter

    def product(self, x):
        return self.matrix @ x

    def adjoint(self, x):
        return self.matrix.T @ x


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
