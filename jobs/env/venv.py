"""What jobs/setup.sh asks of the Python packages: which are there, which are held, which lack. Standard library only.

python venv.py bound NAME...             exit status 0 if these packages that are bound to MPI can be loaded
python venv.py held NAME...              constraints for pip: their versions, and the numpy they are compiled for
python venv.py place NAME...             a .pth file that finds them, and metadata where pip would see none
python venv.py lacking MODE EXTRAS NAME...   what is not there; NAMEs are to come from the system
python venv.py oldest                    constraints for pip: the oldest versions that pyproject.toml allows
"""

import importlib
import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
BOUND = ("mpi4py", "petsc4py", "slepc4py", "h5py")  # compiled for one MPI library
MODULES = {  # where the names differ
    "pyyaml": "yaml",
    "physics-tenpy": "tenpy",
    "pytest-cov": "pytest_cov",
    "pytest-xdist": "xdist",
}


def load(name):
    """Import a package with its compiled modules, without starting MPI, which login nodes may not allow."""
    package = importlib.import_module(name)
    if name == "mpi4py":
        package.rc.initialize = False
        importlib.import_module("mpi4py.MPI")
    elif name == "petsc4py":
        load("mpi4py")  # finds an MPI library that pip has installed, and loads it for all
        importlib.import_module("petsc4py.lib").ImportPETSc()
    elif name == "slepc4py":
        load("petsc4py")
        importlib.import_module("slepc4py.lib").ImportSLEPc()
    return package


def trouble(name) -> str:
    """Empty, or why a package cannot be imported."""
    try:
        load(name)
    except Exception as error:  # whatever a broken library raises
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def bound(*names):
    """Exit with the first package that cannot be loaded."""
    for name in names:
        if said := trouble(name):
            sys.exit(f"{name}: {said}")


def held(*names):
    """Print the versions of the packages, and the generation of numpy for which they were compiled."""
    for name in names:
        print(f"{name}=={load(name).__version__}")
    print(f"numpy=={load('numpy').__version__.split('.')[0]}.*")


def place(*names):
    """Let the venv find the packages when PYTHONPATH or modules are gone, and let pip know that they are there.

    Debian's h5py, or a petsc4py that PETSc installed, has no metadata: pip would bring a second one.
    """
    folder = Path(sysconfig.get_path("purelib"))
    origins = [importlib.util.find_spec(name).origin for name in names]
    outside = [str(Path(origin).parent.parent) for origin in origins if not origin.startswith(sys.prefix)]
    (folder / "system-mpi.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(outside)))
    for name in names:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            version = load(name).__version__
            notes = folder / f"{name}-{version}.dist-info"
            notes.mkdir()
            (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            (notes / "INSTALLER").write_text("hpcsim-setup\n")
            (notes / "RECORD").write_text("".join(f"{notes.name}/{file},,\n" for file in ("METADATA", "INSTALLER")))


def requirements(*extras) -> list[str]:
    """The dependencies in pyproject.toml, with those of the extras."""
    import tomllib  # of Python 3.11: the commands that judge another Python must run in it

    project = tomllib.loads(PROJECT.read_text())["project"]
    return sum((project["optional-dependencies"][extra] for extra in extras if extra), project["dependencies"])


def name_of(requirement) -> str:
    return re.match(r"[\w-]+", requirement)[0]


def lacking(extras, *system):
    """Print what cannot be imported, and what pip has put in the place of a package of the system.

    A wheel of one of the latter brings a second MPI or a serial HDF5.
    """
    for name in map(name_of, requirements(*extras.split(","))):
        if said := trouble(MODULES.get(name, name)):
            print(f"{name} ({said})")
        elif name in system and importlib.util.find_spec(name).origin.startswith(sys.prefix):
            print(f"{name} of this machine: pip has put its own into .venv, which does not know this machine's MPI")


def oldest():
    """Print the oldest release series that each dependency outside BOUND may have."""
    for requirement in requirements():
        if (found := re.match(r"([\w-]+)>=([\d.]+)", requirement)) and found[1] not in BOUND:
            print(f"{found[1]}=={found[2]}.*")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {function.__name__: function for function in (bound, held, place, lacking, oldest)}[command](*arguments)
