"""Many ranks that write records of 1 kB, 100 kB and 10 MB into one run file: their time in I/O.

    python jobs/benchmarks/store.py                         # 64 ranks on however few cores, into a temporary folder
    python jobs/benchmarks/store.py --ranks 8 --folder /scratch/me --seconds 10

A method of one's own, with records that sleep, goes through `hpcsim.run_config` as any other. `in I/O` is the sum over
all ranks and the part of their time that the program itself reports in its log and in `status`; `each` is that of one
record. Behind it what one record costs one process that has the machine for itself: the CRC, the writes without it, and
to bring it to the disk with fsync, which a rank does once in `flush_seconds`, and at the end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {"1 kB": (1, 128), "100 kB": (100, 128), "10 MB": (1250, 1000)}
METHOD = """
import time

import numpy as np

from hpcsim.methods import Cost, Dim, Output
from hpcsim.system import Parameters


class Options(Parameters):
    rows: int = 1
    columns: int = 128
    seconds: float = 1.0


def supports(system):
    return None


def records(system, options):
    return (0,)


def cost(system, options, record):
    return Cost(bytes=8.0 * options.rows * options.columns, time=options.seconds)


def outputs(system, options):
    dims = Dim("row", tuple(range(options.rows))), Dim("column", tuple(range(options.columns)))
    return (Output("numbers", dims, "1", "numbers"),)


def run(system, options, record, context):
    time.sleep(options.seconds)
    return {"numbers": np.full((options.rows, options.columns), 0.5)}
"""
CONFIG = """
model: {{name: collective_spin, S: 1, decay: 1.0}}
method: {{file: sleeper.py, rows: {rows}, columns: {columns}, seconds: {seconds}}}
sweep: [{{model.field_x: {{linspace: [0.1, 1.0, {points}]}}}}]
run: {{flush_seconds: {flush}}}
"""
ROW = "{:<8}{:>8}{:>10}{:>10}{:>12}{:>12}{:>12}{:>12}"


def write(folder: Path, given):
    """Of every rank: all runs, one after the other. Collective over the world."""
    import logging

    from mpi4py import MPI

    import hpcsim
    from hpcsim.store import read_status

    logging.getLogger("hpcsim").setLevel(logging.ERROR)
    world = MPI.COMM_WORLD
    for name in SIZES:
        config = folder / f"{name.replace(' ', '')}.yaml"
        out = config.with_suffix(".h5")
        hpcsim.run_config(config, out, comm=world)
        if world.rank == 0:
            report(name, read_status(out)["history"][-1], given.records * world.size, *alone(out))
            out.unlink()


def report(name: str, session: dict, records: int, crc: float, writing: float, sync: float):
    loops = session["ranks"] * session["loop_seconds"]
    part = f"{session['io_seconds'] / loops:.2%}"
    each = f"{1e3 * session['io_seconds'] / records:.3f} ms"
    single = (f"{1e3 * seconds:.3f} ms" for seconds in (crc, writing, sync))
    print(ROW.format(name, records, f"{session['io_seconds']:.2f} s", part, each, *single), flush=True)


def alone(path: Path) -> tuple[float, float, float]:
    """Median seconds of a record's CRC, of its writes without it, and of fsync, into an existing run file."""
    from hpcsim.store import disk
    from hpcsim.store.slots import Slots
    from hpcsim.store.states import DONE, places, record_crc

    with disk.reading(path) as (file, version):
        where = places(file)
    slots, found = Slots(path, where, version), []
    slab = np.full(where["data/numbers"].shape[1:], 0.25)
    for record in range(7):
        times = [time.perf_counter()]
        record_crc(version, record, DONE, 1.0, [slab])
        times.append(time.perf_counter())
        slots.done(record, {"numbers": slab}, 1.0)
        times.append(time.perf_counter())
        slots.sync()
        times.append(time.perf_counter())
        found.append(np.diff(times))
    slots.close()
    crc, written, sync = np.median(found, axis=0)
    return crc, written - crc, sync


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--records", type=int, default=3, help="of each rank")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a record sleeps")
    parser.add_argument("--flush", type=float, default=60.0, help="run.flush_seconds")
    parser.add_argument("--folder", type=Path, help="where the files are written; else a temporary one")
    parser.add_argument("--as-rank", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank:
        return write(given.as_rank, given)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        (Path(folder) / "sleeper.py").write_text(METHOD)
        for name, (rows, columns) in SIZES.items():
            values = dict(rows=rows, columns=columns, seconds=given.seconds, flush=given.flush)
            text = CONFIG.format(**values, points=given.records * given.ranks)
            (Path(folder) / f"{name.replace(' ', '')}.yaml").write_text(text)
        print(f"{given.ranks} ranks, records of {given.seconds:g} s and more")
        print(ROW.format("", "records", "in I/O", "part", "each", "CRC", "write", "fsync"), flush=True)
        more = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
        more["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        command = ["mpirun", "-n", str(given.ranks), sys.executable, __file__, "--as-rank", folder]
        command += ["--records", str(given.records)]
        return subprocess.run(command, env=os.environ | more).returncode


if __name__ == "__main__":
    sys.exit(main())
