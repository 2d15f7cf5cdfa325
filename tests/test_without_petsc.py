"""Without petsc4py and slepc4py: what does not need them runs, and what does says so."""

import subprocess
import sys

import pytest
from conftest import mpi_environment

HIDDEN = """
import sys
for name in ("petsc4py", "slepc4py"):
    sys.modules[name] = None  # importing it raises ImportError
from hpcsim import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def hpcsim(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", HIDDEN, *arguments], cwd=folder, env=mpi_environment(), capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "method",
    [
        "{name: phase_space, task: evolve, times: [0, 1], trajectories: 16, batch: 8}",
        "{name: mean_field, task: evolve, times: [0, 1]}",
    ],
)
def test_a_run_that_needs_no_petsc(tmp_path, method):
    model = "{name: gain_loss_lattice, cells: 1, S: 1, g: 1.0, gain: 1.0, loss: 1.0}"
    (tmp_path / "run.yaml").write_text(f"model: {model}\nmethod: {method}\n")
    for arguments in (["run", "run.yaml", "--out", "run.h5"], ["collect", "collected.h5", "run.h5"]):
        done = hpcsim(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr


def test_a_large_matrix_says_what_is_missing(tmp_path):
    model = "{name: gain_loss_lattice, cells: 1, S: 10, g: 1.0, gain: 1.0, loss: 1.0}"
    (tmp_path / "run.yaml").write_text(f"model: {model}\nmethod: {{name: liouvillian, task: steady_state}}\n")
    done = hpcsim(tmp_path, "run", "run.yaml", "--out", "run.h5")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    for words in ("needs PETSc and SLEPc", "petsc4py", "bash jobs/setup.sh", "hpcsim doctor"):
        assert words in done.stderr


def test_doctor_calls_it_a_limit(tmp_path):
    done = hpcsim(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout
    assert "liouvillian and permutation need it, all others run" in done.stdout
