"""`doctor`: this installation is whole, and every mismatch gets its explanation and its fix."""

import copy
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT, mpi_environment, mpirun

from hpcsim import doctor
from hpcsim.doctor.probe import PLAIN

HEALTHY = {
    "hpcsim": "0.1.0",
    "kind": "debian",
    "python": "3.11.2",
    "executable": "/usr/bin/python3",
    "host": "node1",
    "threads": 1,
    "cores": 4,
    "usable": 4,
    "memory": 8e9,
    "started": 2,
    "slurm": None,
    "mpi4py": {"version": "3.1.4", "library": "Open MPI v4.1.4", "standard": "3.1"},
    "petsc4py": {"version": "3.18.5", "scalar": "real", "integer": 32, "solvers": ["mumps", "superlu_dist"]},
    "slepc4py": {"version": "3.18.2"},
    "h5py": {"version": "3.7.0", "hdf5": "1.10.8", "mpi": True},
    "numpy": {"version": "2.2.4"},
    "scipy": {"version": "1.17.1"},
    "numba": {"version": "0.60.0"},
    "pyyaml": {"version": "6.0"},
    "pydantic": {"version": "2.8.0"},
    "matplotlib": {"version": "3.6.3"},
    "physics-tenpy": {"version": "1.1.0"},
    "xarray": {"version": "2024.10.0"},
    "h5netcdf": {"version": "1.3.0"},
    "requires": {"numpy": ["1.26"], "pydantic": ["2.5", "3"], "scipy": ["1.12"]},
    "libmpi": ["/usr/lib/libmpi.so.40"],
    "links": {"mpi4py": ["/usr/lib/libmpi.so.40"], "petsc4py": ["/usr/lib/libmpi.so.40"], "h5py": []},
    "blas": ["/usr/lib/openblas-pthread/libopenblas.so.0"],
    "mpirun": "mpirun (Open MPI) 4.1.4",
    "ranks": [{"host": "node1", "threads": 1, "libmpi": ["/usr/lib/libmpi.so.40"]}] * 2,
}
OTHER_MPI = "/opt/mpich/lib/libmpich.so.12"
ABSENT = "ModuleNotFoundError: No module named 'x'"

# what is wrong: (path into the facts, value, the finding's name, its status, words it must say)
MISMATCHES = {
    "old Python": (["python"], "3.10.4", "Python", "wrong", ["3.11"]),
    "no mpi4py": (["mpi4py"], ABSENT, "mpi4py", "missing", ["python3-mpi4py"]),
    "no mpirun": (["mpirun"], None, "mpirun", "warn", ["openmpi-bin", "srun"]),
    "mpirun of MPICH": (
        ["mpirun"],
        "HYDRA build details: Version: 4.0.2",
        "mpirun",
        "wrong",
        ["HYDRA", "Open MPI v4.1.4", "openmpi-bin"],
    ),
    "ranks alone": (["started"], 8, "ranks", "wrong", ["8 started", "sees 2"]),
    "no PETSc": (["petsc4py"], ABSENT, "PETSc", "warn", ["python3-petsc4py-real", "liouvillian", "all others run"]),
    "PETSc that cannot be loaded": (
        ["petsc4py"],
        "ImportError: libpetsc.so.3.18: cannot open shared object file",
        "PETSc",
        "missing",
        ["libpetsc.so.3.18", "python3-petsc4py-real"],
    ),
    "PETSc for another numpy": (
        ["petsc4py"],
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header",
        "PETSc",
        "wrong",
        ["another numpy than 2.2.4", "bash jobs/setup.sh"],
    ),
    "complex PETSc": (["petsc4py", "scalar"], "complex", "PETSc", "warn", ["complex", "python3-petsc4py-real"]),
    "no MUMPS": (["petsc4py", "solvers"], ["superlu_dist"], "solvers", "missing", ["SuperLU_DIST", "no MUMPS"]),
    "no SLEPc": (["slepc4py"], ABSENT, "SLEPc", "warn", ["python3-slepc4py-real"]),
    "SLEPc of another PETSc": (["slepc4py", "version"], "3.20.1", "SLEPc", "wrong", ["3.20.1", "3.18.5"]),
    "no h5py": (["h5py"], ABSENT, "h5py", "missing", ["python3-h5py-mpi"]),
    "two libmpi loaded": (
        ["libmpi"],
        ["/usr/lib/libmpi.so.40", OTHER_MPI],
        "one libmpi",
        "wrong",
        [OTHER_MPI, "bash jobs/setup.sh"],
    ),
    "h5py linked to another": (
        ["links", "h5py"],
        [OTHER_MPI],
        "one libmpi",
        "wrong",
        [f"h5py is linked to {OTHER_MPI}", "mpi4py is linked to /usr/lib/libmpi"],
    ),
    "hosts differ": (
        ["ranks"],
        [HEALTHY["ranks"][0], {"host": "node2", "threads": 1, "libmpi": [OTHER_MPI]}],
        "one libmpi",
        "wrong",
        ["node2", OTHER_MPI, "same modules"],
    ),
    "reference BLAS": (
        ["blas"],
        ["/usr/lib/blas/libblas.so.3"],
        "BLAS of PETSc",
        "warn",
        ["/usr/lib/blas/libblas.so.3", "libopenblas0-pthread"],
    ),
    "old numpy": (["numpy", "version"], "1.25.2", "numpy", "wrong", ["1.25.2", "1.26 or later", "'numpy>=1.26'"]),
    "pydantic 1": (["pydantic", "version"], "1.10.2", "pydantic", "wrong", ["1.10.2", "'pydantic>=2.5'"]),
    "pydantic 3": (["pydantic", "version"], "3.0.0", "pydantic", "wrong", ["below 3", "'pydantic<3'"]),
    "no numba": (["numba"], ABSENT, "numba", "missing", ["pip install numba"]),
    "too many ranks": (
        ["ranks"],
        [HEALTHY["ranks"][0]] * 5,
        "threads",
        "warn",
        ["5 ranks", "4 cores", "OMP_NUM_THREADS=1"],
    ),
    "too many threads": (["ranks"], [HEALTHY["ranks"][0] | {"threads": 3}] * 2, "threads", "warn", ["4 cores"]),
}


def test_the_sample_is_healthy():
    assert {finding.name: finding.status for finding in doctor.judge(HEALTHY) if finding.status != "ok"} == {}


@pytest.mark.parametrize("case", MISMATCHES)
def test_a_mismatch_is_explained(case):
    path, value, name, status, words = MISMATCHES[case]
    facts = copy.deepcopy(HEALTHY)
    *parents, last = path
    target = facts
    for key in parents:
        target = target[key]
    target[last] = value
    findings = doctor.judge(facts)
    assert {f.name: f.status for f in findings if f.status != "ok"} == {name: status}
    finding = next(f for f in findings if f.name == name)
    assert finding.fix
    for word in words:
        assert word in f"{finding.value} {finding.fix}"


@pytest.mark.parametrize(
    "kind, command",
    [
        ("conda", "conda install -c conda-forge 'h5py=*=mpi_openmpi*'"),
        ("spack", "spack add py-h5py+mpi"),
        ("debian", "apt-get install"),
        ("pip", ".venv/bin/python -m pip install h5py"),
    ],
)
def test_the_fix_suits_the_kind_of_installation(kind, command):
    def fix_of_h5py(kind):
        findings = doctor.judge(HEALTHY | {"kind": kind, "h5py": ABSENT})
        return next(f.fix for f in findings if f.name == "h5py")

    assert command in fix_of_h5py(kind)
    assert command in fix_of_h5py("")  # not known: all of them


@pytest.mark.parametrize("version", ["1.26.4", "2.4.0"])
def test_both_generations_of_numpy_fit(version):
    assert all(finding.status == "ok" for finding in doctor.judge(HEALTHY | {"numpy": {"version": version}}))


def test_the_bounds_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name, lowest = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
        assert doctor.probe()["requires"][name][0] == lowest


def test_missing_things_make_the_report_fail(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it raises ImportError
    lines, ok = doctor.report(None)
    assert not ok
    index = next(i for i, line in enumerate(lines) if line.startswith("missing"))
    assert "numba" in lines[index] and "pip install numba" in lines[index + 1]


def test_this_installation_is_whole_alone():
    from mpi4py import MPI

    lines, ok = doctor.report(MPI.COMM_SELF)
    assert ok, "\n".join(lines)
    assert not [line for line in lines if line.startswith(("missing", "wrong"))], "\n".join(lines)


@pytest.mark.parametrize("ranks", [1, 2])
def test_this_installation_is_whole_under_mpirun(ranks):
    done = mpirun(ranks, ["-m", "hpcsim", "doctor"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("what this installation has") == 1
    said = {line.split()[1]: line for line in done.stdout.splitlines()[1:] if line[0] != " "}
    assert f"{ranks} on 1 host" in said["ranks"]
    assert "scalars" in said["PETSc"] and "MUMPS" in said["solvers"]
    assert "libmpi" in said["one"] or "libmpich" in said["one"]


@pytest.mark.parametrize("name", ["h5py", "mpi4py", "pydantic", "yaml"])
def test_the_command_runs_where_a_package_is_missing(name):
    program = f"import sys; sys.modules[{name!r}] = None\nfrom hpcsim import cli\nsys.exit(cli.main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", program], env=mpi_environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(rf"missing +{PLAIN.get(name, name)}", done.stdout, re.I), done.stdout


def test_h5py_needs_no_mpi():
    """Ranks write plain bytes into the run file."""
    facts = HEALTHY | {"h5py": {"version": "3.7.0", "hdf5": "1.10.8", "mpi": False}}
    assert {f.name: f.status for f in doctor.judge(facts)}["h5py"] == "ok"
