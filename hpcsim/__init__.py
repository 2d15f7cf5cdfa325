"""hpcsim: driven-dissipative spin systems on clusters and workstations."""

import hashlib
import os
from pathlib import Path

__version__ = "0.1.0"

# One thread per rank, before numpy loads its BLAS: the ranks are the parallelism.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def _compiled() -> Path:
    """Where numba keeps what it compiled from these sources.

    Its own cache of a function does not see a change in another file that the function calls, and would run the
    old code: one folder for each state of all files with kernels.
    """
    package, state = Path(__file__).parent, hashlib.blake2b(digest_size=8)
    for file in sorted(package.rglob("*.py")):
        if b"njit" in (source := file.read_bytes()):
            state.update(source)
    return package / "__pycache__" / f"numba-{state.hexdigest()}"


if os.access(Path(__file__).parent, os.W_OK):
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_compiled()))
