"""No option of PETSc that writes a file or starts a program comes from a config, the environment or a folder."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, mpi_environment
from pydantic import ValidationError

from hpcsim import cli
from hpcsim.methods import liouvillian, permutation
from hpcsim.solvers.options import ALLOWED, allowed, of_environment

CONFIG = """
model: {name: gain_loss_lattice, cells: 1, S: 1, gain: 0.5, loss: 0.5}
method: {name: liouvillian, task: spectrum, eigenvalues: 2, sectors: [1], petsc_options: {%s}}
"""
USED = {  # by shipped configs, README, benchmarks, tests and the messages of errors
    "eps_ncv": 40,
    "eps_tol": 0.1,
    "eps_max_it": 1,
    "mfn_ncv": 60,
    "st_mat_mumps_icntl_6": 0,
    "st_mat_mumps_icntl_7": 0,
    "st_mat_mumps_icntl_14": 100,
    "st_mat_mumps_icntl_22": 1,
    "st_mat_mumps_icntl_35": 2,
    "st_mat_mumps_cntl_1": 0.0,
    "st_mat_mumps_cntl_7": 1e-6,
    "st_ksp_type": "gmres",
    "st_ksp_rtol": 1e-12,
    "st_pc_factor_mat_ordering_type": "natural",
    "st_pc_factor_mat_solver_type": "superlu_dist",
}
VIEWERS = {
    "eps_view_vectors": "binary:x;touch PWNED;.gz",
    "eps_view": "ascii:/any/path",
    "mfn_view": "ascii:x",
    "eps_monitor": "ascii:x",
    "st_ksp_view": "ascii:x",
    "st_ksp_monitor": "ascii:x",
    "st_mat_mumps_icntl_2": 77,
    "options_left": 1,
    "log_view": ":x",
    "info": ":x",
    "prefix_push": "x",
    "options_file": "x",
    "-eps_ncv": 4,
    "eps_ncv -info": 4,
}


def test_what_is_in_use_is_allowed():
    assert allowed(USED) == USED
    assert allowed({"eps_ncv": "40", "st_mat_superlu_dist_equil": True}) == {
        "eps_ncv": 40,
        "st_mat_superlu_dist_equil": 1,
    }


@pytest.mark.parametrize("options", [liouvillian.Options, permutation.Options])
@pytest.mark.parametrize("name", VIEWERS)
def test_viewers_monitors_and_files_are_refused_by_name(options, name):
    with pytest.raises(ValidationError, match=rf"'{name}' is not allowed"):
        options(petsc_options={name: VIEWERS[name]})


@pytest.mark.parametrize("name", ALLOWED)
def test_no_value_is_free_text(name):
    for value in ("4 -info", "ascii:x", ":x", "", None, [1], {"a": 1}, float("nan"), 10**5000, 2.5e301):
        with pytest.raises(ValueError, match=rf"^{name} = .* needed"):
            allowed({name: value})


def test_a_config_starts_no_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG % 'eps_view_vectors: "binary:x;touch PWNED;.gz"')
    assert cli.main(["check", "c.yaml"]) == 2
    error = capsys.readouterr().err
    assert "c.yaml: method.petsc_options" in error and "'eps_view_vectors' is not allowed" in error
    (tmp_path / "c.yaml").write_text(CONFIG % "eps_nvc: 40")
    assert cli.main(["check", "c.yaml"]) == 2
    assert "did you mean eps_ncv" in capsys.readouterr().err


def test_the_environment_is_held_to_the_same_list():
    text = "-hpcsim_eps_ncv 30 -use_gpu_aware_mpi 0 -info :x -eps_ncv 9 -hpcsim_st_ksp_view ascii:x -log_view"
    kept, refused = of_environment(text)
    assert kept == {"hpcsim_eps_ncv": 30, "use_gpu_aware_mpi": 0}
    assert refused == ["-info :x", "-eps_ncv 9", "-hpcsim_st_ksp_view ascii:x", "-log_view"]
    assert of_environment("'-info :x") == ({}, ["'-info :x"]) and of_environment("") == ({}, [])


PROGRAM = """
from mpi4py import MPI
from hpcsim.solvers.petsc import libraries
PETSc, _ = libraries(MPI.COMM_SELF)
print(sorted(PETSc.Options().getAll()))
"""


def test_neither_a_file_of_the_folder_nor_the_environment_reaches_petsc(tmp_path):
    for name in (".petscrc", "petscrc"):
        (tmp_path / name).write_text("-info :fromfile\n-hpcsim_eps_view ascii:fromfile\n")
    (tmp_path / "o.yaml").write_text("info: ':fromyaml'\n")
    more = {"PETSC_OPTIONS": "-info :leak -hpcsim_eps_ncv 30", "PETSC_OPTIONS_YAML": "info: ':fromyaml'"}
    environment = mpi_environment(HOME=tmp_path, **more)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    # PETSc 3.22 adds a warning on options that nothing has used
    assert ended.stdout.splitlines()[0] == "['hpcsim_eps_ncv', 'no_signal_handler', 'skip_petscrc']", ended.stderr
    assert "-info :leak" in ended.stderr and "PETSC_OPTIONS_YAML" in ended.stderr
    assert sorted(os.listdir(tmp_path)) == [".petscrc", "o.yaml", "petscrc"]


def test_every_option_that_the_project_names_is_allowed():
    named = set()
    for path in [ROOT / "README.md", *(ROOT / "configs").rglob("*.yaml"), *(ROOT / "hpcsim").rglob("*.py")]:
        named |= set(re.findall(r'\b((?:eps|mfn|st_ksp|st_pc|st_mat)_\w+)"?: ', path.read_text()))
    assert "eps_ncv" in named and named <= {*ALLOWED}, named - {*ALLOWED}
