"""Parallel efficiency of the two quickstart jobs, and of one point of 256 batches, on 1 and 2 ranks.

    .venv/bin/python jobs/benchmarks/parallel_efficiency.py [--runs 3] [CONFIG ...]

Each config is run with --quick on two ranks, to compile the kernels where that was not done before, and then
on one rank and on two in turn, so that a drift of the machine's speed meets both. Printed per config:
the seconds of compiling, median wall time of the work (start-up excluded, from the run file's history) on
1 and 2 ranks, the speed-up, the efficiency T1 / (2 T2), and the share of the time in I/O. The bound is an
efficiency of 1 where both ranks have a core and memory of their own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from hpcsim import store

CONFIGS = ["configs/huber2020/fig2c.yaml", "configs/huber2020/fig5ab.yaml"]
BATCHES = """
title: one point of the phase-space method
model: {name: gain_loss_lattice, cells: 50, S: 10, gain: 1.5, h: 0.5, loss: 1.0}
method: {name: phase_space, trajectories: 65536, batch: 256, burn_in: 10, duration: 40}
run: {seed: 3}
quick: {title: the same}
"""


def work(config: str, ranks: int, folder: str) -> dict:
    """The history entry of one run."""
    out = Path(folder) / "run.h5"
    out.unlink(missing_ok=True)
    subprocess.run(
        ["mpirun", "-n", str(ranks), sys.executable, "-m", "hpcsim", "run", config, "--quick", "--out", str(out)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return store.read_status(out)["history"][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", help="instead of the three")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if os.geteuid() == 0:
        os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    print(
        f"{'config':36} {'compile/s':>9} {'T(1)/s':>8} {'T(2)/s':>8} {'speed-up':>9} {'efficiency':>11} "
        f"{'min..max':>13} {'I/O':>6}"
    )
    with tempfile.TemporaryDirectory() as folder:
        (one_point := Path(folder) / "phase_space.yaml").write_text(BATCHES)
        for config in arguments.configs or [*CONFIGS, str(one_point)]:
            compiling = work(config, 2, folder)["compile_seconds"]
            pairs = [(work(config, 1, folder), work(config, 2, folder)) for _ in range(arguments.runs)]
            one, two = (median(pair[i]["loop_seconds"] for pair in pairs) for i in (0, 1))
            ratios = [a["loop_seconds"] / b["loop_seconds"] / 2 for a, b in pairs]
            io = median(b["io_seconds"] / (2 * b["loop_seconds"]) for _, b in pairs)
            print(
                f"{Path(config).stem:36} {compiling:9.1f} {one:8.2f} {two:8.2f} {one / two:9.2f} "
                f"{median(ratios):11.3f} {min(ratios):6.3f}..{max(ratios):.3f} {100 * io:5.1f}%",
                flush=True,
            )


if __name__ == "__main__":
    main()
