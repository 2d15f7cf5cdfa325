"""The run file: laid out completely before anything is computed, so that no kill can break it.

Every dataset is contiguous, allocated at the start and filled with NaN; afterwards only raw data
are written, each record into its own slab, followed by its CRC and then its done flag:

    /data/<output>            (records, *dims) float64 or complex128
    /records/point, index     which point of the sweep a record belongs to, its number within the point
    /records/done, crc, seconds   done: 1; 2 where the target_error of the point does not need it
    /config, /axes, /outputs  the resolved config (YAML), the axes of the sweep and the outputs (JSON)
    /history                  one JSON entry per finished session

A header before HDF5's own holds a CRC of every byte outside the datasets that are written later.

Where h5py has no MPI, every writer has a file of this layout to itself: F.g000.h5, F.g001.h5, ...
"""

from hpcsim.store.collected import Collected, Variable, is_collected, load
from hpcsim.store.layout import Layout, RunData, StoreError, difference, science
from hpcsim.store.read import format_status, read_runs, read_status
from hpcsim.store.records import Memory, Records, empty
from hpcsim.store.run import RunFile, open_run, run_files
from hpcsim.store.whole import write_whole

__all__ = [
    "Collected",
    "Layout",
    "Memory",
    "Records",
    "RunData",
    "RunFile",
    "StoreError",
    "Variable",
    "difference",
    "empty",
    "format_status",
    "is_collected",
    "load",
    "open_run",
    "read_runs",
    "read_status",
    "run_files",
    "science",
    "write_whole",
]
