"""jobs/run.sbatch under a real Slurm: warned before the limit, requeued, continued, equal in every bit."""

import os
import shutil
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from conftest import ROOT, mpirun
from slurm_cluster import SlurmCluster

import hpcsim

SCRIPT = ROOT / "jobs" / "run.sbatch"

# 128 records, together 15 to 20 s of two idle cores, of which Slurm's warning leaves the first job about 6 s
CONFIG = """
title: work for half a minute
model: {name: gain_loss_lattice, cells: 50, S: 1000, g: 1.0, h: 0.5, gain: 1.5, loss: 1.0}
method: {name: phase_space, task: steady_state, burn_in: 20, duration: 580, sample_every: 20,
         trajectories: 256, batch: 16}
sweep: [{model.loss: {linspace: [0.5, 2.0, 4]}}]
run: {seed: 3}
"""


@pytest.fixture(scope="module")
def cluster():
    with SlurmCluster(cpus=2) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "chain.yaml").write_text(CONFIG)
    return tmp_path


def contents(path):
    """Every dataset of a file, and what must be the same of its attributes."""
    found = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
        return found, file.attrs["config_hash"], file.attrs["seed"]


def test_a_job_out_of_time_is_requeued_and_ends_with_the_same_bits(cluster, folder):
    for ranks, *arguments in (
        (2, "run", "chain.yaml", "--out", "whole.h5"),
        (1, "collect", "whole-collected.h5", "whole.h5"),
    ):
        done = mpirun(ranks, ["-m", "hpcsim", *arguments], cwd=folder, timeout=400)
        assert done.returncode == 0, done.stderr

    time.sleep((cluster.seconds_to_warnings() - 9) % 30)  # the warning comes early in the job
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    job = cluster.sbatch(
        "--ntasks=2", "--time=1", "--signal=B:USR1@50", SCRIPT, "chain.yaml", cwd=folder, env={"PATH": path}
    )
    ended = cluster.wait(job, timeout=400)
    log = (folder / f"slurm-{job}.out").read_text()

    assert ended["JobState"] == "COMPLETED" and ended["ExitCode"] == "0:0", log
    assert int(ended["Restarts"]) >= 1, log
    assert "start 1, 2 ranks" in log and "the time limit is near" in log and "start 2, 2 ranks" in log
    assert "SIGUSR1" in log  # the ranks have seen it, and not merely died of it
    assert "complete after" in log
    whole, *attributes = contents(folder / "whole-collected.h5")
    parts, *others = contents(folder / "results" / "chain-collected.h5")
    assert attributes == others and whole.keys() == parts.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)
    assert np.isfinite(parts["Sz"]).all() and np.all(parts["records_done"] == 16)


SWEEP = {
    "model": {"name": "gain_loss_lattice", "S": 0.5, "loss": 0.4},
    "method": {"name": "liouvillian"},
    "sweep": [{"model.S": [0.5, 1]}, {"model.gain": [0.2, 0.6, 1.0]}],
}


def test_the_tasks_of_an_array_share_a_sweep(cluster, tmp_path):
    """Two tasks, at the same time."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(SWEEP))
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = "--array=0-1", "--ntasks=1", "--time=5"
    job = cluster.sbatch(*options, SCRIPT.with_name("array.sbatch"), "c.yaml", cwd=tmp_path, env=path)
    for task in range(2):
        ended = cluster.wait(f"{job}_{task}", timeout=200)
        log = (tmp_path / f"slurm-{job}_{task}.out").read_text()
        assert ended["JobState"] == "COMPLETED", log
        assert f"share {task + 1} of 2: 3 of these points" in log
    data, whole = hpcsim.open(tmp_path / "results" / "c-collected.h5"), hpcsim.solve(**SWEEP)
    assert (data.records_done == 1).all() and data.Sz.values.tobytes() == whole.Sz.values.tobytes()


# stands in for the ranks: asked to end, they end with status 75
STAND_IN = """#!/bin/bash
trap 'echo asked to end; exit 75' TERM
echo at work
sleep 100 & wait
"""


def test_a_cancelled_job_does_not_come_back(cluster, folder):
    """srun hands the ranks' status 75 to the script while Slurm ends the job: it must not requeue itself."""
    script = shutil.copytree(SCRIPT.parent, folder / "jobs") / SCRIPT.name  # no .venv beside it
    (folder / "hpcsim").write_text(STAND_IN)
    (folder / "hpcsim").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    job = cluster.sbatch("--ntasks=2", script, "chain.yaml", cwd=folder, env={"PATH": path, "HPCSIM_LAUNCHER": "srun"})
    log = folder / f"slurm-{job}.out"
    end = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("at work") == 2):
        assert time.monotonic() < end, cluster.logs()
        time.sleep(0.2)
    cluster.scancel(job)
    assert cluster.wait(job, timeout=30)["JobState"] == "CANCELLED"
    time.sleep(7)  # a requeued job would be back by now
    assert cluster.job(job)["JobState"] == "CANCELLED" and cluster.job(job)["Restarts"] == "0"
    assert "asked to end" in log.read_text() and "not requeued" in log.read_text()
