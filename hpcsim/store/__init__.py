"""The run file: laid out completely before anything is computed, so that no kill can break it.

HDF5 makes the file and reads it. Every dataset is contiguous, allocated at the start and filled with NaN; afterwards
all ranks write plain bytes at known places, each record into its own slab, followed by its CRC and then its flag:

    /data/<output>            (records, *dims) float64 or complex128
    /records/point, index     which point of the sweep a record belongs to, its number within the point
    /records/done             1: done; 2: the target_error of the point does not need it; 3: failed; 0: none of these
    /records/crc, seconds     CRC-32 of the record's number, flag, seconds and data
    /config, /axes, /outputs  the resolved config (YAML), the axes of the sweep and the outputs (JSON)
    /history, /failures       a CRC and JSON for each finished session, and for each failed record

A header before HDF5's own holds a CRC of every byte outside the datasets that are written later.
"""

from hpcsim.store.collected import (
    Collected,
    Variable,
    asked,
    failures,
    is_collected,
    is_settled,
    load,
    methods_of,
    shortfall,
    slug,
)
from hpcsim.store.layout import Layout, RunData, StoreError, difference, in_words, science
from hpcsim.store.read import busy_range, format_status, io_time, read_runs, read_status
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
    "asked",
    "difference",
    "empty",
    "failures",
    "busy_range",
    "format_status",
    "in_words",
    "io_time",
    "is_collected",
    "is_settled",
    "load",
    "methods_of",
    "open_run",
    "read_runs",
    "read_status",
    "run_files",
    "science",
    "shortfall",
    "slug",
    "write_whole",
]
