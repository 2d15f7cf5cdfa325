"""The gap of symmetric operators, with what shows that nothing slower was missed."""

import numpy as np
import pytest
from mpi4py import MPI

import hpcsim
from hpcsim import solvers
from hpcsim.methods import Context, permutation
from hpcsim.methods.permutation import spectrum
from hpcsim.models import all_to_all_xyz

CONTEXT = Context(MPI.COMM_SELF, (0, 0), lambda: False)


def system(N=12, **parameters):
    return all_to_all_xyz.build(
        all_to_all_xyz.Params(**{"N": N, "Jx": 0.6, "Jy": 1.4, "Jz": 1, "decay": 1} | parameters)
    )


def results(given):
    options = permutation.Options(task="spectrum", eigenvalues=3)
    return [permutation.run(given, options, parity, CONTEXT) for parity in (1, -1)]


@pytest.mark.parametrize("seed", range(4))
def test_exponentials_certify_the_gap_that_lapack_finds(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    Jx, Jy, Jz = rng.uniform(-1.5, 1.5, 3)
    given = system(12, Jx=Jx, Jy=Jy, Jz=Jz, decay=10 ** rng.uniform(-1, 0.5), collective_decay=rng.uniform(0, 0.2))
    whole = results(given)
    monkeypatch.setattr(spectrum, "LAPACK", 0)
    for expected, found in zip(whole, results(given)):
        assert expected["certificate"] == 2 and expected["certified_decay"] == np.inf
        assert found["certificate"] == 0.5 and found["certified_decay"] == found["gap"]
        assert found["gap"] == pytest.approx(expected["gap"], rel=1e-6)


def test_a_gap_that_shift_invert_missed_is_not_certified(monkeypatch):
    found = solvers.leading_eigenvalues

    def without_the_slowest(comm, sector, count, options):
        values, errors = found(comm, sector, count + 4, options)
        kept = np.abs(values.real - values[1 if sector.parity > 0 else 0].real) > 1e-9
        return values[kept][:count], errors[kept][:count]

    monkeypatch.setattr(spectrum, "LAPACK", 0)
    monkeypatch.setattr(solvers, "leading_eigenvalues", without_the_slowest)
    for each in results(system()):
        assert each["certificate"] == each["certified_decay"] == 0


def test_where_exponentials_do_not_converge_nothing_is_shown(monkeypatch):
    def fails(*_):
        raise solvers.SolverError("on purpose")

    monkeypatch.setattr(spectrum, "LAPACK", 0)
    monkeypatch.setattr(solvers, "end_of_spectrum", fails)
    assert results(system())[0]["certificate"] == 0


def test_the_certificate_reaches_the_user():
    model = {"name": "all_to_all_xyz", "N": 6, "Jx": 0.6, "Jz": 1, "decay": 1}
    method = {"name": "permutation", "task": "spectrum", "eigenvalues": 3}
    data = hpcsim.solve(model=model, method=method, sweep={"model.Jy": [0.8, 1.4]})
    assert (data.certified == 1).all() and (data.certificate == 2).all() and "LAPACK" not in data.certificate.long_name
    assert np.allclose(data.gap, np.minimum(data.gap_even, data.gap_odd))


def test_spins_without_couplings_and_decay_are_not_certified_by_exponentials(monkeypatch):
    monkeypatch.setattr(spectrum, "LAPACK", 0)
    for each in results(system(Jx=0, Jy=0, Jz=0, decay=0)):
        assert each["gap"] == 0 and each["eigenvalues"].tolist() == [0, 0, 0] and each["certificate"] in (0, 0.5)
