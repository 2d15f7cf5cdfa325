"""One Liouvillian on several ranks: memory of each rank and volume of the messages.

    python jobs/benchmarks/distributed.py --ranks 1 2 4 8

A steady state by MUMPS, a matrix-free evolution and both ends of a spectrum without a matrix (task antigap), each with
`ranks_per_point` set to all ranks. `memory` is the largest growth of a rank's resident memory beyond what it had once
everything was loaded and a small case of the same task was done; `sum` adds that of all ranks up. `messages` and `MB`
are what all ranks have sent to each other, counted by Open MPI (its component pml_monitoring), the start of the run
among them; `CPU` is that of the busiest rank, which spins while it waits where there are more ranks than cores.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RING = {"name": "spin_network", "Jx": 0.5, "Jz": 1.0, "decay": 1.0, "field_x": 0.7}
ALL = {"name": "all_to_all_xyz", "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0}
EVOLVE = {"name": "liouvillian", "task": "evolve", "times": [0.0, 0.5]}
ANTIGAP = {"name": "liouvillian", "task": "antigap", "tolerance": 1e-5}
DIMER = {"name": "gain_loss_lattice", "gain": 0.6, "loss": 0.4}
CASES = {  # (model, method) of the case, and of a small one
    "MUMPS, dimer S = 20": ((DIMER | {"S": 20}, "liouvillian"), (DIMER | {"S": 8}, "liouvillian")),
    "evolve, 8 spins": ((RING | {"sites": 8}, EVOLVE), (RING | {"sites": 4}, EVOLVE)),
    "antigap, 9 spins": ((ALL | {"N": 9}, ANTIGAP), (ALL | {"N": 4}, ANTIGAP)),
}


def peak() -> int:
    """Largest resident memory of this process, in bytes."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def rank(name: str):
    """One rank; rank 0 prints the growth of all and the largest CPU time, as JSON."""
    from mpi4py import MPI

    import hpcsim

    world = MPI.COMM_WORLD
    case, small = CASES[name]
    hpcsim.solve(*small, run={"ranks_per_point": world.size}, comm=world)
    before, began = peak(), time.process_time()
    hpcsim.solve(*case, run={"ranks_per_point": world.size}, comm=world)
    found = world.gather((peak() - before, time.process_time() - began))
    if found:
        print(json.dumps(found), flush=True)


def sent(folder: Path) -> tuple[int, int]:
    """Messages and bytes from the profiles that Open MPI has written, one for each rank."""
    messages = volume = 0
    for file in folder.glob("profile*.prof"):
        for line in file.read_text().splitlines():
            if found := re.match(r"[EI]\s+\d+\s+\d+\s+(\d+) bytes\s+(\d+) msgs sent", line):
                volume, messages = volume + int(found[1]), messages + int(found[2])
    return messages, volume


def measured(name: str, ranks: int) -> str:
    """A row of the table."""
    more = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    more["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        more |= {"OMPI_MCA_pml_monitoring_enable": "2", "OMPI_MCA_pml_monitoring_enable_output": "3"}
        more["OMPI_MCA_pml_monitoring_filename"] = f"{folder}/profile"
        command = ["mpirun", "-n", str(ranks), sys.executable, __file__, "--as-rank", name]
        answer = subprocess.run(command, env=os.environ | more, check=True, stdout=subprocess.PIPE, text=True).stdout
        messages, volume = sent(Path(folder))
    growth, cpu = zip(*json.loads(next(line for line in answer.splitlines() if line.startswith("[["))))
    return (
        f"{name:<22}{ranks:>6}{max(growth) / 2**20:>12.1f}{sum(growth) / 2**20:>10.1f}{messages:>12}"
        f"{volume / 1e6:>10.1f}{max(cpu):>9.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--case", choices=list(CASES), help="this one alone")
    parser.add_argument("--as-rank", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank:
        return rank(given.as_rank)
    print(f"{'':<22}{'ranks':>6}{'memory/MiB':>12}{'sum/MiB':>10}{'messages':>12}{'MB':>10}{'CPU/s':>9}")
    for name in [given.case] if given.case else CASES:
        for ranks in given.ranks:
            print(measured(name, ranks), flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
