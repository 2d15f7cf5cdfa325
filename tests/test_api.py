"""Python in memory gives what the command line gives, to the bit, and nothing is loaded before it is used."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray
import yaml
from conftest import ROOT, mpirun

import hpcsim
from hpcsim import cli
from hpcsim.models import gain_loss_lattice
from hpcsim.run.config import ConfigError

DIMER = {"name": "gain_loss_lattice", "S": 1, "gain": 0.6, "loss": 0.4}
CONFIGS = {
    "spectrum": {
        "model": DIMER,
        "method": {"name": "liouvillian", "task": "spectrum", "eigenvalues": 4},
        "sweep": [{"model.S": [0.5, 1, 1.5]}, {"model.gain": [0.2, 0.6], "model.loss": [0.1, 0.5]}],
    },
    "gap": {"model": DIMER, "method": {"name": "liouvillian", "task": "gap"}, "sweep": [{"model.gain": [0.2, 0.6]}]},
    "trajectories": {
        "model": {"name": "collective_spin", "S": 1, "decay": 1.0},
        "method": {
            "name": "trajectories",
            "task": "evolve",
            "times": [0.5, 1.0],
            "trajectories": 192,
            "batch": 2,
            "target_error": {"Sz": 0.2},
        },
        "sweep": [{"model.drive": [0.5, 2.0]}],
        "run": {"seed": 7},
    },
    "phase_space": {
        "model": {"name": "xyz_lattice", "convention": "huber2021", "sites": 3, "S": 5, "Jx": 0.9, "Jy": 1.2},
        "method": {"name": "phase_space", "task": "evolve", "times": [1.0], "trajectories": 64, "batch": 16},
        "sweep": [{"model.sites": [[2, 2], 3]}],
    },
}
OF_THE_SESSION = ("sources", "sessions", "compute_seconds", "collected")


def by_command(config, folder, ranks=None):
    """The collected file that `run` and `collect` make."""
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    arguments = ["run", str(folder / "c.yaml"), "--out", str(folder / "r.h5")]
    if ranks is None:
        assert cli.main(arguments) == 0
    else:
        assert mpirun(ranks, ["-m", "hpcsim", *arguments]).returncode == 0
    assert cli.main(["collect", str(folder / "c.h5"), str(folder / "r.h5")]) == 0
    return folder / "c.h5"


def same(one, other):
    """Whether two data sets have the same variables, bits, labels and attributes."""
    bits = {name: (v.dims, v.values.tobytes(), v.attrs) for name, v in one.variables.items() if v.dtype != object}
    assert bits == {name: (v.dims, v.values.tobytes(), v.attrs) for name, v in other.variables.items() if name in bits}
    assert one.drop_vars(bits, errors="ignore").identical(
        other.drop_vars(bits, errors="ignore").assign_attrs(one.attrs)
    )
    assert {k: v for k, v in one.attrs.items() if k not in OF_THE_SESSION} == {
        k: v for k, v in other.attrs.items() if k not in OF_THE_SESSION
    }
    return True


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_bits_as_run_and_collect(name, tmp_path):
    data = hpcsim.solve(**CONFIGS[name])
    path = by_command(CONFIGS[name], tmp_path)
    assert same(data, hpcsim.open(path))
    assert same(data, hpcsim.open(tmp_path / "r.h5"))  # the run file itself
    # rates that all of what was not searched exceed: infinite where all was searched, NaN where nothing was excluded
    bounds = {"certified_decay", "excluded_decay"}
    found = {key: v for key, v in data.data_vars.items() if v.dtype.kind == "f" and key not in bounds}
    assert all(np.isfinite(v).any() for v in found.values()), [k for k, v in found.items() if not np.isfinite(v).any()]


@pytest.mark.parametrize("name", ["gap", "trajectories"])
def test_the_same_bits_as_on_two_ranks(name, tmp_path):
    assert same(hpcsim.solve(**CONFIGS[name]), hpcsim.open(by_command(CONFIGS[name], tmp_path, ranks=2)))


def test_open_gives_what_xarray_reads(tmp_path):
    path = by_command(CONFIGS["spectrum"], tmp_path)
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        ours = hpcsim.open(path)
        assert ours.equals(data) and set(ours.coords) == set(data.coords) == {
            "method",
            "S",
            "gain",
            "loss",
            "eigenvalue",
        }
    assert ours.gap.dims == ("S", "gain") and ours.loss.dims == ("gain",)
    assert ours.gap.sel(S=1, gain=0.6).item() > 0


def test_a_half_finished_run_can_be_opened(tmp_path):
    config = CONFIGS["spectrum"]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "r.h5"
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", str(out), "--max-walltime", "0.000001s"]) == 75
    data = hpcsim.open(out)
    assert int(data.records_done.sum()) == 0 and np.isnan(data.gap).all() and data.records_total.min() > 1


def test_values_may_be_numpys_and_names_alone():
    rates = np.array([0.2, 0.6])
    model = DIMER | {"S": np.float64(1), "cells": np.int64(1)}
    data = hpcsim.solve(model, sweep={"model.gain": rates, "model.loss": tuple(rates / 2)}, run={"seed": np.int32(3)})
    assert data.Sz.dims == ("gain", "loss", "sublattice") and data.Sz.shape == (2, 2, 2) and data.attrs["seed"] == 3
    same_axis = hpcsim.solve(model, "liouvillian", [{"model.gain": rates, "model.loss": rates / 2}])
    assert np.array_equal(same_axis.Sz, [data.Sz[0, 0], data.Sz[1, 1]])


def test_a_system_in_place_of_a_model():
    built = gain_loss_lattice.build(gain_loss_lattice.Params(**{k: v for k, v in DIMER.items() if k != "name"}))
    one, other = hpcsim.solve(DIMER), hpcsim.solve(built)
    assert one.drop_attrs().identical(other.drop_attrs())
    method = {"name": "trajectories", "task": "evolve", "times": [1.0], "trajectories": 16}
    again = gain_loss_lattice.build(gain_loss_lattice.Params(**{k: v for k, v in DIMER.items() if k != "name"}))
    assert np.array_equal(hpcsim.solve(built, method).Sz, hpcsim.solve(again, method).Sz)
    with pytest.raises(ConfigError, match="model.S = 1: unknown key"):
        hpcsim.solve(built, sweep={"model.S": [1]})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": "ising"}, "model.name = 'ising': unknown model; known: all_to_all_xyz"),
        ({"method": "dmrg"}, "method.name = 'dmrg': unknown method"),
        ({"model": DIMER | {"S": 0.3}}, "model.S = 0.3"),
        ({"sweep": {"model.gian": [1]}}, "model.gian = 1: unknown key; did you mean gain"),
        ({"sweep": {"model.gain": 1}}, "sweep.0.model.gain = 1: a list of values is needed"),
        ({"run": {"ranks_per_point": 2}}, "run.ranks_per_point = 2: must divide the number of ranks, 1"),
    ],
)
def test_wrong_input_is_one_message(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        hpcsim.solve(**{"model": DIMER, "method": "liouvillian"} | change)
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)


def python(code):
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "NUMBA_CACHE_DIR")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_loads_nothing_and_sets_nothing():
    code = (
        "import os, sys; before = dict(os.environ); import hpcsim\n"
        "print(*{'numpy', 'numba', 'mpi4py', 'yaml', 'h5py', 'xarray'} & {*sys.modules}, dict(os.environ) == before,"
        " 'solve' in dir(hpcsim), hpcsim.__version__)"
    )
    assert python(code) == ["True", "True", hpcsim.__version__]
    functions = {"solve", "run_config", "plan", "collect", "open", "to_qutip", "from_qutip"}
    assert functions | {"System", "Terms", "Jumps"} == {*hpcsim.__all__}
    assert all(callable(getattr(hpcsim, name)) for name in hpcsim.__all__)
    with pytest.raises(AttributeError, match="no attribute 'slove'"):
        _ = hpcsim.slove


def test_a_run_loads_no_more_than_it_needs():
    """Every rank of a job pays for it: scipy.optimize and CUDA together took as long as numba, half a second."""
    code = (
        "import hpcsim, sys; from hpcsim import cli; hpcsim.solve({'name': 'collective_spin', 'S': 1, 'decay': 1})\n"
        "print('solved', *{'numba', 'hpcsim.figures'} & {*sys.modules})\n"
        "cli.main(['check', 'configs/huber2020/fig3c.yaml'])\n"
        "import hpcsim.run.execute, hpcsim.methods.mean_field, hpcsim.methods.phase_space\n"
        "print('found', *{'scipy.optimize', 'scipy.integrate', 'numba.cuda', 'matplotlib'} & {*sys.modules})"
    )
    words = python(code)
    assert words[words.index("solved") + 1] == "title" and words[-1] == "found"


@pytest.mark.parametrize(
    "entry", ["hpcsim.solve", "from hpcsim import cli; cli.main(['status', 'nowhere.h5'])", "hpcsim.System"]
)
def test_one_thread_and_a_folder_for_kernels_before_numpy_loads(entry):
    code = (
        f"import os, sys, hpcsim; assert 'numpy' not in sys.modules; {entry}\n"
        "print(os.environ['OMP_NUM_THREADS'], hpcsim.environment.kernels_folder() == __import__('pathlib').Path("
        "os.environ['NUMBA_CACHE_DIR']))"
    )
    assert python(code)[-2:] == ["1", "True"]


def test_kernels_have_their_folder_whatever_is_imported_first():
    code = (
        "import numpy, numba, hpcsim.ensemble.streams as streams, hpcsim.environment as e\n"
        "print(str(e.kernels_folder()) in streams.fill_words.dispatcher.stats.cache_path)"
    )
    assert python(code) == ["True"]
