"""hpcsim: driven-dissipative spin systems on clusters and workstations."""
import os

__version__ = "0.1.0"

# One thread per rank, before numpy loads its BLAS: the ranks are the parallelism.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
