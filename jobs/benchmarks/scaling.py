"""Strong and weak scaling of four jobs: measured on 1 and 2 ranks, simulated with their records on up to 10,000.

    python jobs/benchmarks/scaling.py                       # writes scaling.png and prints the numbers in it
    python jobs/benchmarks/scaling.py --runs 5 --figure other.png

A sweep of exact steady states, a phase-space ensemble, a trajectory ensemble and a sweep of permutation-symmetric
steady states, each run on 1 and on 2 ranks in turn. Measured is the speed-up of the records' loop, start-up left out,
the median of the runs. The continuation plays the program's own queue with the recorded seconds and with the estimates
that the run had, drawn from the records of the 1-rank run: RECORDS of them for strong scaling, EACH for every rank for
weak scaling. A question to the queue takes 2e-5 s each way and 5e-5 s of its server. The dashed line is what no
schedule can pass, min(1, total/(P longest)).
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from parallel_efficiency import work as run

RECORDS, EACH = 20_000, 20
RANKS = (1, 2, 8, 32, 128, 512, 2048, 10_000)
LATENCY, SERVICE = 2e-5, 5e-5
JOBS = {
    "exact sweep": """
model: {name: gain_loss_lattice, S: 8, loss: 0.4}
method: {name: liouvillian}
sweep: [{model.gain: {linspace: [0.1, 1.0, 48]}}]
""",
    "phase space": """
model: {name: gain_loss_lattice, cells: 50, S: 10, gain: 1.5, h: 0.5, loss: 1.0}
method: {name: phase_space, trajectories: 8192, batch: 128, burn_in: 10, duration: 40}
""",
    "trajectories": """
model: {name: spin_network, sites: 6, Jx: 0.5, Jz: 1.0, decay: 1.0, field_x: 0.7}
method: {name: trajectories, task: evolve, times: {linspace: [0, 10, 21]}, trajectories: 2048, batch: 32}
""",
    "permutation": """
model: {name: all_to_all_xyz, N: 40, Jx: 0.6, Jy: 1.0, Jz: 1.0, decay: 1.0}
method: {name: permutation}
sweep: [{model.Jy: {linspace: [0.75, 1.75, 48]}}]
""",
}


def measured(name: str, text: str, runs: int, folder: str) -> tuple[float, Path]:
    """Speed-up on 2 ranks, and the file of a run on 1."""
    config = Path(folder) / f"{name.replace(' ', '_')}.yaml"
    config.write_text(f"{text}run: {{seed: 3}}\nquick: {{title: the same}}\n")
    run(str(config), 2, folder)  # compiles
    pairs = []
    for _ in range(runs):
        two = run(str(config), 2, folder)["loop_seconds"]
        pairs.append((run(str(config), 1, folder)["loop_seconds"], two))
    kept = (Path(folder) / "run.h5").rename(config.with_suffix(".h5"))
    return median(one / two for one, two in pairs), kept


def drawn(recorded, count: int):
    """So many records like those of a `schedule.Recording`: their seconds, and their costs as they were estimated."""
    from hpcsim.run.costs import Work

    which = np.random.default_rng(1).integers(len(recorded.seconds), size=count)
    return recorded.seconds[which], Work.of(np.arange(count), recorded.work.seconds[which], recorded.work.kinds[which])


def efficiencies(recorded, strong: bool) -> list[tuple[float, float]]:
    """(efficiency, bound) for each of RANKS."""
    from schedule import queued

    found = []
    for ranks in RANKS:
        seconds, work = drawn(recorded, RECORDS if strong else EACH * ranks)
        ideal = seconds.sum() / ranks
        took = queued(seconds, work, ranks, LATENCY, SERVICE)
        found.append((ideal / took, min(1.0, ideal / seconds.max())))
    return found


def draw(rows: dict, path: str):
    """rows : {name: (speed-up on 2 ranks, seconds of a record, strong, weak)}, as from `efficiencies`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for i, (name, (speedup, mean, *curves)) in enumerate(rows.items()):
        for axis, curve in zip(axes, curves):
            found, bound = np.array(curve).T
            axis.plot(RANKS, found, color=f"C{i}", label=f"{name}, records of {mean:.2g} s")
            axis.plot(RANKS, bound, color=f"C{i}", ls="--", lw=0.8)
        axes[0].plot([1, 2], [1, speedup / 2], "o", color=f"C{i}", mfc="none")
    axes[0].set_title(f"strong scaling, {RECORDS} records")
    axes[1].set_title(f"weak scaling, {EACH} records for each rank")
    for axis in axes:
        axis.set(xscale="log", xlabel="ranks", ylim=(0, 1.1))
    axes[0].set_ylabel("parallel efficiency")
    axes[0].legend(fontsize=8, loc="lower left", title="circles: measured", title_fontsize=8)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--figure", default=str(Path(__file__).with_suffix(".png")))
    given = parser.parse_args()
    if os.geteuid() == 0:
        os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(name, text, given.runs, folder) for name, text in JOBS.items()}
        from schedule import Recording  # and MPI: from here on mpirun starts nothing

        for name, (speedup, file) in found.items():
            recorded = Recording.of(str(file))
            seconds = recorded.seconds
            print(
                f"{name}: {len(seconds)} records of {seconds.mean():.3g} s, the longest {seconds.max():.3g} s; ", end=""
            )
            print(f"2 ranks {speedup:.2f} times as fast as 1, efficiency {speedup / 2:.3f}", flush=True)
            rows[name] = speedup, float(seconds.mean()), recorded
    print(f"{'efficiency (bound)':<22}" + "".join(f"{ranks:>16}" for ranks in RANKS))
    for name, (speedup, mean, recorded) in rows.items():
        curves = [efficiencies(recorded, strong) for strong in (True, False)]
        for kind, curve in zip(("strong", "weak"), curves):
            row = "".join(f"{found:9.3f} ({bound:.3f})" for found, bound in curve)
            print(f"{name + ', ' + kind:<22}{row}", flush=True)
        rows[name] = speedup, mean, *curves
    draw(rows, given.figure)


if __name__ == "__main__":
    sys.exit(main())
