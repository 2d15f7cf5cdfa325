"""save_state: matrices in the file, against the dense Liouvillian from Kronecker products."""

from dataclasses import replace

import numpy as np
import pytest
import xarray
import yaml
from conftest import mpirun
from mpi4py import MPI
from test_antigap import dense_liouvillian

from hpcsim import cli
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import Options
from hpcsim.models import gain_loss_lattice, kerr_oscillator, spin_network, xyz_lattice
from hpcsim.observables import reduced
from hpcsim.system import Parity

CONTEXT = Context(MPI.COMM_SELF, (0, 0), lambda: False)


def ring(sites):
    return xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=sites, Jx=0.7, Jy=1.1, Jz=0.3))


SYSTEMS = {
    "dimer": gain_loss_lattice.build(gain_loss_lattice.Params(S=1, gain=0.7, loss=1.1)),
    "ring": ring(4),
    # sectors whose matrices hold the eigenvalues of their adjoints too
    "ring without reflection": replace(
        ring(3), symmetries=tuple(s for s in ring(3).symmetries if not isinstance(s, Parity))
    ),
    "unequal": spin_network.build(
        spin_network.Params(sites=3, Jx=0.7, Jy=1.1, Jz=0.3, periodic=False, decay=(0.3, 0, 0.2), field_x=(0, 0.4, 0.1))
    ),
    "Kerr": kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=0.5, D=2, cutoff=6)),
    # every eigenvalue several times
    "free spins": spin_network.build(spin_network.Params(sites=2, decay=0.7, dephasing=0.1, resolve=True)),
}
everywhere = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


def collected(system, **more):
    options = Options(save_state=True, **more)
    results = [liouvillian.run(system, options, record, CONTEXT) for record in liouvillian.records(system, options)]
    found = {}
    for output in liouvillian.outputs(system, options):
        found[output.name] = reduced(output, lambda name: np.stack([np.asarray(r[name]) for r in results]))[0]
        assert np.shape(found[output.name]) == tuple(len(dim.values) for dim in output.dims)
    return found


@everywhere
def test_the_kept_steady_state_is_the_steady_state(system):
    found, L = collected(system), dense_liouvillian(system)
    rho = found["rho"]
    assert np.trace(rho) == pytest.approx(1, abs=1e-12)
    assert np.allclose(rho, rho.conj().T, rtol=0, atol=1e-14) and np.linalg.eigvalsh(rho).min() > -1e-12
    assert abs(L @ rho.ravel()).max() < 1e-11 * abs(L).max()
    assert np.trace(rho @ rho).real == pytest.approx(found["purity"], abs=1e-12)


@everywhere
def test_the_kept_eigenmatrices_are_eigenmatrices(system):
    found, L = collected(system, task="spectrum", eigenvalues=5), dense_liouvillian(system)
    values, matrices = found["eigenvalues"], found["eigenmatrices"]
    for value, x in zip(values, np.moveaxis(matrices, -1, 0)):
        assert np.linalg.norm(x) == pytest.approx(1)
        assert np.linalg.norm(L @ x.ravel() - value * x.ravel()) < 1e-7 * np.linalg.norm(L, 2)
    assert np.linalg.matrix_rank(matrices.reshape(-1, 5), tol=1e-4) == 5
    steady = matrices[..., 0] / np.trace(matrices[..., 0])
    assert np.allclose(steady, collected(system)["rho"], rtol=0, atol=1e-7)


def config(folder, **method):
    path = folder / "c.yaml"
    model = {"name": "gain_loss_lattice", "S": 1, "gain": 1.0, "loss": 0.8}
    method = {"name": "liouvillian", "save_state": True, **method}
    path.write_text(yaml.safe_dump({"model": model, "method": method, "sweep": [{"model.S": [0.5, 1]}]}))
    return path


def test_matrices_come_through_the_files_with_their_labels(tmp_path):
    for task, more in (("steady_state", {}), ("spectrum", {"eigenvalues": 3})):
        path, run, out = config(tmp_path, task=task, **more), tmp_path / f"{task}.h5", tmp_path / f"{task}-c.h5"
        assert mpirun(2, ["-m", "hpcsim", "run", path, "--out", run], timeout=300).returncode == 0
        assert cli.main(["collect", str(out), str(run)]) == 0
        with xarray.open_dataset(out, engine="h5netcdf") as data:
            kept = data["rho" if task == "steady_state" else "eigenmatrices"]
            for S, D in ((0.5, 4), (1, 9)):
                at = kept.sel(S=S, ket=slice(0, D - 1), bra=slice(0, D - 1)).transpose("ket", "bra", ...).values
                L = dense_liouvillian(gain_loss_lattice.build(gain_loss_lattice.Params(S=S, gain=1.0, loss=0.8)))
                first = at.reshape(D * D, -1)[:, 0]
                assert abs(L @ first).max() < 1e-9
                assert np.isnan(kept.sel(S=0.5).values).any() and not np.isnan(at).any()


def test_what_is_too_large_or_of_another_task_is_refused(tmp_path, capsys):
    for line, message in (
        (["model.S=20", "sweep=[]"], "1681 states, and 1024 at most"),
        (["model.S=6", "sweep=[]", "method.task=spectrum"], "169 states, and 64 at most"),
        (["method.task=gap"], "save_state belongs to the tasks steady_state and spectrum"),
    ):
        options = [word for each in line for word in ("--set", each)]
        assert cli.main(["check", str(config(tmp_path)), *options]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert message in error
