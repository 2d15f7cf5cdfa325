"""What the libraries and the machine say, as plain data; the standard library is all that is imported at the top."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
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
    "xarray": "xarray",
    "h5netcdf": "h5netcdf",
}
SOLVERS = {"mumps": "MUMPS", "superlu_dist": "SuperLU_DIST"}
# A compiled module of each package; Debian has two builds of h5py, of which the one with MPI counts
EXTENSIONS = {"mpi4py": "MPI.*.so", "petsc4py": "PETSc.*.so", "h5py": "defs.*.so"}
# Variables by which a launcher tells its ranks how many they are
RANKS_STARTED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")


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
        "requires": _requires(),
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
    loaded = Path("/proc/self/maps").read_text()
    found = set()
    # pip's mpi4py has a module for each MPI, and imports the one that fits
    for path in [path for path in paths if os.path.realpath(path) in loaded] or paths:
        said = subprocess.run(["ldd", path], capture_output=True, text=True, timeout=30).stdout
        found |= {os.path.realpath(library) for library in re.findall(r"=> (/\S+)", said)}
    return sorted(filter(_is_libmpi, found))


def _requires() -> dict[str, list[str]]:
    """What the installed hpcsim asks for: {package: ["2.5" at least, and what is too new, if known]}."""
    try:
        lines = importlib.metadata.requires("hpcsim") or []
    except importlib.metadata.PackageNotFoundError:  # the sources on PYTHONPATH
        return {}
    found = (re.match(r"([\w-]+)[^;]*>=([\d.]+)", line) for line in sorted(lines))
    return {match[1]: [match[2], *re.findall(r"<([\d.]+)", match.string)] for match in found if match}


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
    """debian, conda, spack or pip: where the packages bound to MPI come from; empty if none of them."""
    prefix = Path(sys.base_prefix)
    if importlib.util.find_spec("dolfinx_solver"):  # the wheel with PETSc that HPCSIM_PETSC=pip installs
        return "pip"
    if (prefix / "conda-meta").is_dir():
        return "conda"
    if "spack" in prefix.parts or "SPACK_ENV" in os.environ:
        return "spack"
    return "debian" if shutil.which("dpkg") and prefix == Path("/usr") else ""


def _memory_available() -> int:
    """Bytes that a program may still take on this host."""
    kilobytes = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]
    return 1024 * int(kilobytes)
