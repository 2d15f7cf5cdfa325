"""The scripts in jobs/: their syntax, their messages, their exit statuses, and the lists in jobs/env/."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, mpi_environment, require_program

JOBS = ROOT / "jobs"
SCRIPTS = sorted([*JOBS.rglob("*.sh"), *JOBS.rglob("*.sbatch"), ROOT / ".ci" / "run"])
FROM_THE_SYSTEM = {"mpi4py", "petsc4py", "slepc4py", "h5py"}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}


def bash(*command, **kw):
    kw = {"capture_output": True, "text": True, "timeout": 120} | kw
    return subprocess.run(["bash", *map(str, command)], **kw)


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts in a folder of its own."""
    folder = tmp_path / "checkout"
    shutil.copytree(JOBS, folder / "jobs")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax(script):
    done = bash("-n", script)
    assert done.returncode == 0, done.stderr


def test_shellcheck():
    command = [require_program("shellcheck"), "-x", *map(str, SCRIPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- setup.sh ---------------------------------------------------------------------------------------


def stranger(folder):
    """The environment of a user who is not root, on a machine where nothing is installed."""
    program(folder / "id", "echo 1000")
    program(folder / "sudo", "exit 1")
    program(folder / "python3", "exit 1")
    program(folder / "dpkg-query", "echo not-installed")
    program(folder / "apt-get", "echo apt-get must not be called >&2; exit 1")
    for name in ("bash", "dirname", "flock", "grep", "cat", "cksum", "xargs", "echo"):
        (folder / name).symlink_to(shutil.which(name))
    return {"PATH": str(folder)}


def test_setup_without_rights_says_what_to_ask_for(checkout, tmp_path):
    done = bash(checkout / "jobs/setup.sh", env=stranger(tmp_path / "bin"))
    assert done.returncode == 2
    packages = [line for line in (JOBS / "env/debian.txt").read_text().splitlines() if line[0] != "#"]
    assert f"apt-get install --no-install-recommends {' '.join(packages)}" in done.stderr
    assert "conda env create -f jobs/env/conda.yaml" in done.stderr
    assert not (checkout / ".venv").exists()


def test_setup_of_the_tests_goes_on_without_their_packages(checkout, tmp_path):
    done = bash(checkout / "jobs/setup.sh", "tests", env=stranger(tmp_path / "bin"))
    assert done.returncode == 2  # for the other packages
    assert re.search("Ask an administrator for: apt-get install .*slurmctld", done.stderr)


def test_setup_off_debian_names_the_other_ways(checkout, tmp_path):
    environment = stranger(tmp_path / "bin")
    (tmp_path / "bin" / "apt-get").unlink()
    done = bash(checkout / "jobs/setup.sh", env=environment)
    assert done.returncode == 2
    for words in ("HPCSIM_PYTHON=", "conda env create", "spack env create", "apptainer build"):
        assert words in done.stderr


def test_setup_names_what_the_chosen_python_lacks(checkout, tmp_path):
    environment = stranger(tmp_path / "bin")
    program(tmp_path / "bin" / "tail", "echo ModuleNotFoundError: petsc4py")
    environment["HPCSIM_PYTHON"] = str(tmp_path / "bin" / "python3")
    done = bash(checkout / "jobs/setup.sh", env=environment)
    assert done.returncode == 2
    assert "HPCSIM_PYTHON=" in done.stderr and "ModuleNotFoundError: petsc4py" in done.stderr


def test_setup_names_the_routes(checkout):
    done = bash(checkout / "jobs/setup.sh", env=os.environ | {"HPCSIM_PETSC": "conda"})
    assert done.returncode == 2 and "system (default), pip or none" in done.stderr


def test_setup_takes_one_argument(checkout):
    done = bash(checkout / "jobs/setup.sh", "everything")
    assert done.returncode == 2 and "usage" in done.stderr


# --- quickstart.sh and test.sh ----------------------------------------------------------------------


@pytest.mark.parametrize("check, status", [("pass", 0), ("fail", 1)])
def test_quickstart_names_the_figures_and_fails_with_a_check(checkout, tmp_path, check, status):
    program(checkout / "jobs/setup.sh", "exit 0")
    program(tmp_path / "bin/mpirun", "exit 0")
    program(
        checkout / ".venv/bin/hpcsim", f'[ "$1" != plot ] || {{ echo "${{2%.h5}}.png"; echo {check}; exit {status}; }}'
    )
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = bash(checkout / "jobs/quickstart.sh", env=os.environ | {"PATH": path})
    assert done.returncode == status, done.stderr
    for name in ("fig2c", "fig5ab"):
        assert done.stdout.count(f"results/quickstart/{name}-collected.png") == 2  # by plot, and at the end
    assert ("checks failed: fig2c fig5ab" in done.stdout) == (status == 1)


MPI_TEST = """
from mpi4py import MPI

def test_ranks():
    assert MPI.COMM_WORLD.rank < {ranks}
"""


@pytest.mark.parametrize("lint, serial, ranks, status", [(0, True, 2, 1), (1, False, 3, 1)])
def test_the_test_script_fails_with_any_stage(checkout, tmp_path, lint, serial, ranks, status):
    """ranks=2: a test that fails on the third rank only."""
    program(checkout / "jobs/setup.sh", "exit 0")
    (checkout / "tests/mpi").mkdir(parents=True)
    shutil.copy(ROOT / "setup.cfg", checkout)
    (checkout / "tests/test_serial.py").write_text(f"def test_serial():\n    assert {serial}\n")
    (checkout / "tests/mpi/test_mpi.py").write_text(MPI_TEST.format(ranks=ranks))
    program(tmp_path / "bin/ruff", "exit 0")
    program(tmp_path / "bin/mypy", f"exit {lint}")
    path = f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"HPCSIM_COVERAGE": 0, "HPCSIM_TEST_PROCESSES": 0, "HPCSIM_TEST_RANKS": "1 2 3"}  # whatever CI has set
    done = bash(checkout / "jobs/test.sh", env=mpi_environment(PATH=path, **settings))
    assert done.returncode == status, done.stdout
    *_, one, two, three, verdict = done.stdout.splitlines()
    assert "mpirun -n 1" in one and "status 0" in one and "1 passed" in one
    assert "mpirun -n 2" in two and "status 0" in two and "1 passed" in two
    assert "mpirun -n 3" in three and ("status 0" in three) == (ranks == 3)
    assert verdict.startswith("FAILED" if status else "all passed: 4 passed")
    assert ("assert 2 < 2" in done.stdout) == (ranks == 2)  # what the failing rank said


# --- run.sbatch -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "no config"),
        (["nothing.yaml"], "no file nothing.yaml"),
        (["some.yaml"], "not a Slurm job"),
    ],
)
def test_run_sbatch_explains_its_use(tmp_path, arguments, words):
    (tmp_path / "some.yaml").touch()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    done = bash(JOBS / "run.sbatch", *arguments, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert words in done.stderr


# --- env/ -------------------------------------------------------------------------------------------


def test_debian_has_the_packages_bound_to_mpi():
    packages = set((JOBS / "env/debian.txt").read_text().split())
    assert {
        "python3-mpi4py",
        "python3-petsc4py-real",
        "python3-slepc4py-real",
        "python3-h5py",
        "python3-h5py-mpi",
        "openmpi-bin",
        "python3-venv",
        "libopenblas0-pthread",
    } <= packages
    assert all(re.fullmatch(r"#.*|[a-z0-9.+-]+", line) for line in (JOBS / "env/debian.txt").read_text().splitlines())


def test_conda_has_every_dependency():
    environment = yaml.safe_load((JOBS / "env/conda.yaml").read_text())
    assert environment["channels"][0] == "conda-forge"
    wanted = sum(project()["optional-dependencies"].values(), project()["dependencies"])
    assert names(wanted) <= names(environment["dependencies"])
    builds = dict(line.split("=", 1) for line in environment["dependencies"] if "=*=" in line)
    # no build of petsc4py and slepc4py is named after the scalars since spring 2024
    assert builds["petsc"] == builds["slepc"] == "*=real*" and not {"petsc4py", "slepc4py"} & set(builds)
    assert builds["h5py"] == "*=mpi_openmpi*"


def test_spack_has_what_is_bound_to_mpi():
    spack = yaml.safe_load((JOBS / "env/spack.yaml").read_text())["spack"]
    found = {re.match(r"[\w-]+", spec)[0] for spec in spack["specs"]}
    assert {f"py-{name}" for name in FROM_THE_SYSTEM} <= found
    petsc = next(spec for spec in spack["specs"] if spec.startswith("petsc"))
    assert "~complex" in petsc and "+mumps" in petsc
    assert spack["concretizer"]["unify"] is True  # one libmpi


def test_container_is_made_by_the_same_list_and_script():
    recipe = (JOBS / "env/hpcsim.def").read_text()
    assert "jobs/env/debian.txt" in recipe and "bash /opt/hpcsim/jobs/setup.sh" in recipe
    copied = re.search(r"%files\n(.*?)\n\n", recipe, re.DOTALL)[1].split()[::2]
    assert all((ROOT / name).exists() for name in copied)
    assert {"hpcsim", "jobs", "pyproject.toml", "README.md", "LICENSE"} <= set(copied)  # what pip needs
