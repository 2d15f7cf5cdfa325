"""What this installation has, and the fix for what is missing or does not fit together.

`probe` asks the libraries and returns plain data, `judge` turns it into findings, `report` prints
them. Only the standard library is imported here, so that it runs where everything else is broken.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OPTIMISED_BLAS = {
    "openblas": "OpenBLAS",
    "mkl": "MKL",
    "blis": "BLIS",
    "flexiblas": "FlexiBLAS",
    "sci_": "LibSci",
    "armpl": "ArmPL",
    "essl": "ESSL",
    "nvpl": "NVPL",
}
PLAIN = {
    "numpy": "numpy",
    "scipy": "scipy",
    "numba": "numba",
    "yaml": "pyyaml",
    "pydantic": "pydantic",
    "matplotlib": "matplotlib",
    "tenpy": "physics-tenpy",
}
SOLVERS = {"mumps": "MUMPS", "superlu_dist": "SuperLU_DIST"}
# A compiled module of each package; Debian has two builds of h5py, of which the one with MPI counts
EXTENSIONS = {"mpi4py": "MPI.*.so", "petsc4py": "PETSc.*.so", "h5py": "defs.*.so"}
# Variables by which a launcher tells its ranks how many they are
RANKS_STARTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
# How to get each thing, by the kind of installation
FIXES = {
    "debian": {
        "mpi4py": "apt-get install python3-mpi4py openmpi-bin",
        "petsc4py": "apt-get install python3-petsc4py-real, then bash jobs/setup.sh",
        "slepc4py": "apt-get install python3-slepc4py-real, then bash jobs/setup.sh",
        "mumps": "apt-get install --reinstall python3-petsc4py-real (Debian's PETSc has MUMPS)",
        "h5py": "apt-get install python3-h5py-mpi",
        "blas": "apt-get install libopenblas0-pthread; if it is there: "
        "update-alternatives --config libblas.so.3-$(uname -m)-linux-gnu",
        "mpirun": "apt-get install openmpi-bin, and put /usr/bin first on the PATH",
        "libmpi": "remove what brought the second one from .venv, then bash jobs/setup.sh",
        "python": ".venv/bin/python -m pip install",
    },
    "conda": {
        "mpi4py": "conda install -c conda-forge mpi4py 'openmpi=*'",
        "petsc4py": "conda install -c conda-forge 'petsc4py=*=real*'",
        "slepc4py": "conda install -c conda-forge 'slepc4py=*=real*'",
        "mumps": "conda install -c conda-forge 'petsc=*=real*' mumps-mpi",
        "h5py": "conda install -c conda-forge 'h5py=*=mpi_openmpi*'",
        "blas": "conda install -c conda-forge 'libblas=*=*openblas'",
        "mpirun": "conda install -c conda-forge openmpi, and put $CONDA_PREFIX/bin first on the PATH",
        "libmpi": "make the environment anew: conda env create -f jobs/env/conda.yaml",
        "python": "conda install -c conda-forge",
    },
    "spack": {
        "mpi4py": "spack add py-mpi4py && spack install",
        "petsc4py": "spack add py-petsc4py ^petsc+mumps+metis~complex && spack install",
        "slepc4py": "spack add py-slepc4py && spack install",
        "mumps": "spack add petsc+mumps+metis && spack install",
        "h5py": "spack add py-h5py+mpi ^hdf5+mpi && spack install",
        "blas": "spack add openblas and require it: packages: {all: {providers: {blas: [openblas]}}}",
        "mpirun": "spack load the MPI that py-mpi4py was built with",
        "libmpi": "concretizer: {unify: true} in spack.yaml, then spack concretize --force && spack install",
        "python": ".venv/bin/python -m pip install",
    },
}


@dataclass(frozen=True)
class Finding:
    """One line of the table. status: ok; warn (works, not well); missing; wrong (does not fit)."""

    name: str
    value: str
    status: str = "ok"
    fix: str = ""


def report(comm) -> tuple[list[str], bool]:
    """The table, and whether hpcsim can run here. Collective over `comm` (None where mpi4py is missing)."""
    facts = probe()
    ranks = [facts] if comm is None else comm.gather(facts)
    if ranks:
        facts |= probe_launcher() | {"ranks": ranks}
    facts = facts if comm is None else comm.bcast(facts)
    findings = judge(facts)
    width = max(len(finding.name) for finding in findings)
    lines = [f"hpcsim {facts['hpcsim']}: what this installation has"]
    for finding in findings:
        lines.append(f"{finding.status:8} {finding.name:{width}}  {finding.value}")
        if finding.fix:
            lines.append(f"{'':8} {'':{width}}  fix: {finding.fix}")
    return lines, not any(finding.status in ("missing", "wrong") for finding in findings)


# --- probes ---------------------------------------------------------------------------------------


def probe() -> dict:
    """What this rank sees, as plain data. A package that cannot be imported is its error, a string."""
    started = [os.environ[key] for key in RANKS_STARTED if key in os.environ]
    facts = {
        "hpcsim": importlib.import_module("hpcsim").__version__,
        "kind": _kind(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "host": platform.node(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count()),
        "cores": os.cpu_count(),
        "usable": len(os.sched_getaffinity(0)),
        "memory": _memory_available(),
        "started": int(started[0]) if started else 1,
        "slurm": shutil.which("sbatch"),
        "mpi4py": _try(_mpi4py),
        "petsc4py": _try(_petsc4py),
        "slepc4py": _try(_slepc4py),
        "h5py": _try(_h5py),
    }
    for module, package in PLAIN.items():
        facts[package] = _try(lambda: {"version": importlib.import_module(module).__version__})
    # /proc/self/maps: the shared libraries that all these imports have loaded
    loaded = sorted(set(re.findall(r"/\S+\.so\S*", Path("/proc/self/maps").read_text())))
    facts["libmpi"] = [path for path in loaded if _is_libmpi(path)]
    # numpy's and scipy's wheels carry a BLAS of their own, which is not the one that PETSc uses
    facts["blas"] = [path for path in loaded if _is_blas(path) and "py.libs/" not in path]
    return facts


def probe_launcher() -> dict:
    """What programs beside this one say: the version of mpirun, and the libmpi each package is linked to."""
    links = {package: _linked_libmpi(package) for package in ("mpi4py", "petsc4py", "h5py")}
    if not shutil.which("mpirun"):
        return {"mpirun": None, "links": links}
    said = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, timeout=30)
    return {"mpirun": " ".join((said.stdout or said.stderr).split("\n\n")[0].split()), "links": links}


def _linked_libmpi(package) -> list[str]:
    """The libmpi that a package's compiled modules are linked to, as ldd resolves it."""
    spec = importlib.util.find_spec(package)
    paths = sorted(Path(spec.origin).parent.rglob(EXTENSIONS[package])) if spec else []
    found = set()
    for path in paths:
        said = subprocess.run(["ldd", path], capture_output=True, text=True, timeout=30).stdout
        found |= {os.path.realpath(library) for library in re.findall(r"=> (/\S+)", said)}
    return sorted(filter(_is_libmpi, found))


def _try(action):
    """The action's facts, or the error as text: whatever a broken library raises is what we came for."""
    try:
        return action()
    except Exception as error:  # a report of failures must outlive any of them
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _mpi4py():
    from mpi4py import MPI

    library = MPI.Get_library_version().strip("\0\n ").splitlines()[0].split(",")[0]
    return {
        "version": importlib.import_module("mpi4py").__version__,
        "library": library,
        "standard": ".".join(map(str, MPI.Get_version())),
    }


def _petsc4py():
    import petsc4py

    for name in ("PETSC_OPTIONS", "PETSC_OPTIONS_YAML"):  # may write files, see hpcsim.solvers.options
        os.environ.pop(name, None)
    petsc4py.init(["hpcsim", "-no_signal_handler", "-skip_petscrc"])
    from petsc4py import PETSc

    return {
        "version": ".".join(map(str, PETSc.Sys.getVersion())),
        "scalar": "complex" if PETSc.ScalarType().dtype.kind == "c" else "real",
        "integer": 8 * PETSc.IntType().itemsize,
        "solvers": [name for name in SOLVERS if PETSc.Sys.hasExternalPackage(name)],
    }


def _slepc4py():
    from slepc4py import SLEPc

    return {"version": ".".join(map(str, SLEPc.Sys.getVersion()))}


def _h5py():
    import h5py

    return {
        "version": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "mpi": bool(h5py.get_config().mpi),
    }


def _is_libmpi(path) -> bool:
    """Whether it is the C library of an MPI (not its Fortran or C++ layer, nor a program that uses it)."""
    return re.fullmatch(r"lib(mpi|mpich|mpi_(cray|gnu|intel|ibm)\w*)\.so[\d.]*", Path(path).name) is not None


def _is_blas(path) -> bool:
    return re.match(rf"lib(blas|refblas|{'|'.join(OPTIMISED_BLAS)})", Path(path).name) is not None


def _kind() -> str:
    """debian, conda or spack: where this Python comes from; empty if none of them."""
    prefix = Path(sys.base_prefix)
    if (prefix / "conda-meta").is_dir():
        return "conda"
    if "spack" in prefix.parts or "SPACK_ENV" in os.environ:
        return "spack"
    return "debian" if shutil.which("dpkg") and prefix == Path("/usr") else ""


def _memory_available() -> int:
    """Bytes that a program may still take on this host."""
    kilobytes = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]
    return 1024 * int(kilobytes)


# --- findings --------------------------------------------------------------------------------------


def judge(facts: dict) -> list[Finding]:
    """Findings from the facts of `probe` and, in facts["ranks"], of every rank."""
    return [
        _judge_python(facts),
        *_judge_mpi(facts),
        *_judge_petsc(facts),
        _judge_h5py(facts),
        _judge_one_libmpi(facts),
        _judge_blas(facts),
        *(_judge_plain(facts, package) for package in PLAIN.values()),
        *_judge_machine(facts),
    ]


def _fix(facts, item, suffix="") -> str:
    """What to do about `item` here, or in each kind of installation where it is none of them."""
    if facts["kind"]:
        return FIXES[facts["kind"]][item] + suffix
    return "; ".join(f"{kind}: {fixes[item]}{suffix}" for kind, fixes in FIXES.items())


def _numbers(version) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _judge_python(facts):
    value = f"{facts['python']} ({facts['executable']})"
    if _numbers(facts["python"]) < (3, 11):
        return Finding("Python", value, "wrong", "Python 3.11 or later is needed; jobs/env/ has environments with it")
    return Finding("Python", value)


def _judge_mpi(facts):
    mpi = facts["mpi4py"]
    if isinstance(mpi, str):
        return [Finding("mpi4py", mpi, "missing", _fix(facts, "mpi4py"))]
    return [
        Finding("MPI", f"{mpi['library']} (standard {mpi['standard']})"),
        Finding("mpi4py", mpi["version"]),
        _judge_mpirun(facts, mpi),
        _judge_ranks(facts),
    ]


def _judge_mpirun(facts, mpi):
    if facts["mpirun"] is None:
        return Finding(
            "mpirun", "not on the PATH", "warn", _fix(facts, "mpirun") + "; under Slurm, srun will do as well"
        )
    if _vendor(facts["mpirun"]) != _vendor(mpi["library"]):
        value = f"{facts['mpirun']}, but mpi4py uses {mpi['library']}: every rank would be alone"
        return Finding("mpirun", value, "wrong", _fix(facts, "mpirun"))
    return Finding("mpirun", facts["mpirun"])


def _judge_ranks(facts):
    size = len(facts["ranks"])
    if facts["started"] > size:
        value = f"{facts['started']} started, but mpi4py sees {size}: the launcher is of another MPI"
        return Finding("ranks", value, "wrong", _fix(facts, "mpirun"))
    hosts = {rank["host"] for rank in facts["ranks"]}
    return Finding("ranks", f"{size} on {len(hosts)} host{'s' * (len(hosts) > 1)}")


def _vendor(text) -> str:
    """Which MPI a version text speaks of; MPICH and its kin start programs by Hydra."""
    marks = {
        "open mpi": "Open MPI",
        "openrte": "Open MPI",
        "intel": "Intel MPI",
        "mpich": "MPICH",
        "mvapich": "MPICH",
        "cray": "MPICH",
        "hydra": "MPICH",
    }
    return next((name for mark, name in marks.items() if mark in text.lower()), text)


def _judge_petsc(facts):
    petsc = facts["petsc4py"]
    if isinstance(petsc, str):
        return [Finding("PETSc", petsc, "missing", _fix(facts, "petsc4py"))]
    value = f"{petsc['version']}, {petsc['scalar']} scalars, {petsc['integer']}-bit integers"
    if petsc["scalar"] == "real":
        scalars = Finding("PETSc", value)
    else:
        value += ": correct, but for the real matrices here it takes twice the memory and thrice the time"
        scalars = Finding("PETSc", value, "warn", _fix(facts, "petsc4py"))
    names = " and ".join(SOLVERS[name] for name in petsc["solvers"])
    if "mumps" in petsc["solvers"]:
        solvers = Finding("solvers", names)
    else:
        value = f"{names or 'none'}, no MUMPS: no distributed LU for shift-invert"
        solvers = Finding("solvers", value, "missing", _fix(facts, "mumps"))
    return [scalars, solvers, _judge_slepc(facts, petsc)]


def _judge_slepc(facts, petsc):
    slepc = facts["slepc4py"]
    if isinstance(slepc, str):
        return Finding("SLEPc", slepc, "missing", _fix(facts, "slepc4py"))
    if _numbers(slepc["version"])[:2] != _numbers(petsc["version"])[:2]:
        return Finding(
            "SLEPc",
            f"{slepc['version']} does not belong to PETSc {petsc['version']}",
            "wrong",
            _fix(facts, "slepc4py"),
        )
    return Finding("SLEPc", slepc["version"])


def _judge_h5py(facts):
    h5py = facts["h5py"]
    if isinstance(h5py, str):
        return Finding("h5py", h5py, "missing", _fix(facts, "h5py"))
    value = f"{h5py['version']}, HDF5 {h5py['hdf5']}"
    return Finding("h5py", f"{value}, {'with' if h5py['mpi'] else 'without'} MPI (either will do)")


def _judge_one_libmpi(facts):
    """All packages must use the same MPI library: the communicators of one mean nothing to another."""
    linked = {path for paths in facts["links"].values() for path in paths}
    if len(linked | set(facts["libmpi"])) > 1:
        named = [f"{package} is linked to {' and '.join(paths)}" for package, paths in facts["links"].items()]
        return Finding(
            "one libmpi",
            "; ".join([*named, f"loaded: {' and '.join(facts['libmpi'])}"]),
            "wrong",
            _fix(facts, "libmpi"),
        )
    if any(rank["libmpi"] != facts["libmpi"] for rank in facts["ranks"]):
        named = sorted({f"{rank['host']} {' and '.join(rank['libmpi'])}" for rank in facts["ranks"]})
        return Finding(
            "one libmpi",
            f"hosts differ: {'; '.join(named)}",
            "wrong",
            "give all hosts the same modules and environment",
        )
    return Finding("one libmpi", " ".join(facts["libmpi"]) or "not found among the loaded libraries")


def _judge_blas(facts):
    for path in facts["blas"]:
        for mark, name in OPTIMISED_BLAS.items():
            if Path(path).name.startswith(f"lib{mark}"):
                return Finding("BLAS of PETSc", f"{name} ({path})")
    if facts["blas"]:
        value = f"the reference BLAS ({facts['blas'][0]}): MUMPS is many times slower"
        return Finding("BLAS of PETSc", value, "warn", _fix(facts, "blas"))
    return Finding("BLAS of PETSc", "not found among the loaded libraries")


def _judge_plain(facts, package):
    found = facts[package]
    if isinstance(found, str):
        return Finding(package, found, "missing", _fix(facts, "python", f" {package}"))
    version = found["version"]
    if package == "numpy" and _numbers(version) >= (2,):
        return Finding(package, f"{version}, but below 2 is needed", "wrong", _fix(facts, "python", " 'numpy<2'"))
    if package == "pydantic" and _numbers(version) < (2,):
        return Finding(
            package, f"{version}, but 2 or later is needed", "wrong", _fix(facts, "python", " 'pydantic>=2'")
        )
    return Finding(package, version)


def _judge_machine(facts):
    here = [rank for rank in facts["ranks"] if rank["host"] == facts["host"]]
    threads = f"{facts['threads']} per rank (OMP_NUM_THREADS)"
    if sum(rank["threads"] for rank in here) > facts["cores"]:
        value = f"{threads}, {len(here)} ranks here, but only {facts['cores']} cores"
        fix = "export OMP_NUM_THREADS=1, and start no more ranks than cores"
        crowded = Finding("threads", value, "warn", fix)
    else:
        crowded = Finding("threads", threads)
    machine = (
        f"{facts['host']}: {facts['cores']} cores ({facts['usable']} for this rank), "
        f"{facts['memory'] / 1e9:.1f} GB of memory available"
    )
    return [
        crowded,
        Finding("machine", machine),
        Finding("Slurm", facts["slurm"] or "not here: hpcsim runs under mpirun alone"),
    ]
