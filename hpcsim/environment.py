"""Environment variables that must be set before numpy and numba load; of the standard library alone."""

import hashlib
import os
import re
import resource
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent
WITH_KERNELS = re.compile(rb"\bnjit\b|^\s*(from|import) numba\b", re.M)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

NEEDED = 2**30  # bytes of address space in which all libraries can be loaded
LIMITS = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA}


def require_memory():
    """Raises SystemExit where a limit of the shell keeps the libraries from being loaded.

    They do not say so themselves: OpenBLAS tries for ever, MPI aborts, and numpy speaks of its source directory.
    """
    for letter, limit in LIMITS.items() if "numpy" not in sys.modules else ():
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY and most < NEEDED:
            raise SystemExit(
                f"hpcsim: error: ulimit -{letter} = {most // 1024} kB leaves too little memory to load the libraries; "
                f"give {NEEDED // 1024} kB or more, or ulimit -{letter} unlimited"
            )


def prepare(world=None):
    """One thread per rank, as the ranks are the parallelism, and a folder for compiled kernels.

    Called where numpy and numba are about to be loaded: `import hpcsim` alone sets nothing. What the user has set
    stays. The threads of a numpy that is loaded already are the user's.

    world : communicator of all ranks of a run: the first of every node reads the sources for the others. Collective
    """
    if "numpy" not in sys.modules:
        for name in THREADS:
            os.environ.setdefault(name, "1")
    needed = "NUMBA_CACHE_DIR" not in os.environ and os.access(PACKAGE, os.W_OK)
    told = _from_first_of_node(world, needed) if world is not None and world.size > 1 else None
    if needed:
        os.environ["NUMBA_CACHE_DIR"] = told or str(kernels_folder())
        if "numba" in sys.modules:  # it has read the variable already
            sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


def _from_first_of_node(world, needed: bool) -> str | None:
    """The `kernels_folder` that the first rank of this node has found; None where it needs none. Collective."""
    from mpi4py import MPI

    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    found = node.bcast(str(kernels_folder()) if needed and node.rank == 0 else None)
    node.Free()
    return found


def kernels_folder() -> Path:
    """Where numba keeps what it compiled from these sources.

    Its own cache of a function does not see a change in another file that the function calls, and would run the
    old code: one folder for each state of all files with kernels.
    """
    state = hashlib.blake2b(digest_size=8)
    for file in sorted(PACKAGE.rglob("*.py")):
        if WITH_KERNELS.search(source := file.read_bytes()):
            state.update(source)
    return PACKAGE / "__pycache__" / f"numba-{state.hexdigest()}"
