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
from conftest import ROOT
from slurm_cluster import SlurmCluster

import hpcsim
from hpcsim import store

SCRIPT = ROOT / "jobs" / "run.sbatch"

# records of which, in the folder HOLD, a few begin, and the others wait for the word
HELD = """
import os
import time
from pathlib import Path

import numpy as np

from hpcsim.methods import Cost, Output
from hpcsim.system import Parameters


class Options(Parameters):
    task: str = "number"


def supports(system):
    return None


def records(system, options):
    return (0,)


def cost(system, options, record):
    return Cost(bytes=1e3, time=1.0)


def outputs(system, options):
    return (Output("number", (), "1", "of the random stream"),)


def run(system, options, record, context):
    if hold := os.environ.get("HOLD"):
        while len([*Path(hold).glob("begun-*")]) > 3 and not Path(hold, "go").exists():
            time.sleep(0.05)
        Path(hold, f"begun-{context.key[0]}").touch()
        time.sleep(0.2)
    return {"number": np.random.default_rng(context.key).normal()}
"""
CONFIG = """
model: {name: collective_spin, S: 1, decay: 1.0}
method: {file: held.py}
sweep: [{model.field_x: {linspace: [0.1, 1, 12]}}]
run: {seed: 3}
"""


@pytest.fixture(scope="module")
def cluster():
    with SlurmCluster(cpus=2, nodes=2) as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "held.py").write_text(HELD)
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


def path_with(folder):
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def wait_for(cluster, condition):
    end = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < end, cluster.logs()
        time.sleep(0.2)


def test_a_warned_job_is_requeued_and_ends_with_the_same_bits(cluster, folder):
    hpcsim.run_config(folder / "chain.yaml", folder / "whole.h5")
    hpcsim.collect(folder / "whole-collected.h5", [folder / "whole.h5"])
    environment = path_with(Path(sys.executable).parent) | {"HOLD": str(folder)}
    job = cluster.sbatch("--ntasks=2", "--time=9", SCRIPT, "chain.yaml", cwd=folder, env=environment)
    run, log = folder / "results" / "chain.h5", folder / f"slurm-{job}.out"
    wait_for(cluster, lambda: run.exists() and store.read_status(run)["done"] >= 2)
    cluster.warn(job)
    wait_for(cluster, lambda: "hpcsim: SIGUSR1" in log.read_text())
    (folder / "go").touch()
    ended = cluster.wait(job, timeout=400)
    log = log.read_text()

    assert ended["JobState"] == "COMPLETED" and ended["ExitCode"] == "0:0", log
    assert ended["Restarts"] == "1", log
    assert "start 1, 2 ranks" in log and "the time limit is near" in log and "start 2, 2 ranks" in log
    assert "stopped by SIGUSR1" in log  # the ranks have seen it, and not merely died of it
    assert "complete after" in log
    whole, *attributes = contents(folder / "whole-collected.h5")
    parts, *others = contents(folder / "results" / "chain-collected.h5")
    assert attributes == others and whole.keys() == parts.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)
    assert np.isfinite(parts["number"]).all() and parts["records_done"].sum() == 12


def test_a_job_of_two_nodes_survives_a_power_cut_of_one(cluster, folder):
    """Slurm requeues it, it waits for the node, and goes on where it was."""
    environment = path_with(Path(sys.executable).parent) | {"HOLD": str(folder)}
    options = "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--time=5"
    job = cluster.sbatch(*options, SCRIPT, "chain.yaml", cwd=folder, env=environment)
    run, log = folder / "results" / "chain.h5", folder / f"slurm-{job}.out"
    wait_for(cluster, lambda: run.exists() and store.read_status(run)["done"] >= 2)
    cluster.power_cut(cluster.nodes[1])
    wait_for(cluster, lambda: cluster.job(job)["JobState"] == "PENDING")
    done = store.read_status(run)["done"]
    (folder / "go").touch()
    cluster.reboot(cluster.nodes[1])
    ended = cluster.wait(job, timeout=200)

    log = log.read_text()
    assert ended["JobState"] == "COMPLETED" and ended["Restarts"] == "1", log
    assert f"start 1, 2 ranks on {ended['NodeList']}" in log and "start 2, 2 ranks" in log
    assert 2 <= done < 12 and f"12 records ({done} done)" in log
    hpcsim.run_config(folder / "chain.yaml", folder / "whole.h5")
    found, whole = (hpcsim.open(file).number.values for file in (run, folder / "whole.h5"))
    assert np.isfinite(whole).all() and found.tobytes() == whole.tobytes()


SWEEP = {
    "model": {"name": "gain_loss_lattice", "S": 0.5, "loss": 0.4},
    "method": ["liouvillian", {"name": "liouvillian", "task": "gap"}],
    "sweep": [{"model.S": [0.5, 1]}, {"model.gain": [0.2, 0.6, 1.0]}],
}


def test_the_tasks_of_an_array_share_a_sweep(cluster, tmp_path):
    """Two tasks, at the same time, each with its share of the points by two methods."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(SWEEP))
    path = path_with(Path(sys.executable).parent)
    options = "--array=0-1", "--ntasks=1", "--time=5"
    job = cluster.sbatch(*options, SCRIPT.with_name("array.sbatch"), "c.yaml", cwd=tmp_path, env=path)
    for task in range(2):
        ended = cluster.wait(f"{job}_{task}", timeout=200)
        log = (tmp_path / f"slurm-{job}_{task}.out").read_text()
        assert ended["JobState"] == "COMPLETED", log
        assert f"share {task + 1} of 2: 3 of these points" in log
    data, whole = hpcsim.open(tmp_path / "results" / "c-collected.h5"), hpcsim.solve(**SWEEP)
    assert (data.records_done > 0).all() and set(data.method.values) == set(whole.method.values)
    for name in "Sz", "gap":
        found = data[name].sel({"method": whole.method.values})
        assert np.isfinite(found).any() and found.equals(whole[name])


# stands in for the ranks: asked to end, they end with status 75; their second start is not yet ready to be asked
STAND_IN = """#!/bin/bash
[ "$1" = run ] || exit 0
touch start.$SLURM_RESTART_COUNT
case $SLURM_RESTART_COUNT in
    1) trap - USR1 ;;
    2) exit 0 ;;
    *) trap 'echo asked to end; exit 75' TERM USR1 ;;
esac
echo at work
sleep 100 & wait
"""


def stand_in(folder):
    """The job script, beside which there is no .venv, and the environment in which it finds the stand-in."""
    (folder / "hpcsim").write_text(STAND_IN)
    (folder / "hpcsim").chmod(0o755)
    return shutil.copytree(SCRIPT.parent, folder / "jobs") / SCRIPT.name, path_with(folder)


def test_slurm_warns_before_the_limit_and_a_warning_may_find_ranks_that_are_being_started(cluster, folder):
    """Slurm looks at its jobs' limits every 30 s: the first warning is its own."""
    script, path = stand_in(folder)
    job = cluster.sbatch("--ntasks=2", "--time=1", "--signal=B:USR1@55", script, "chain.yaml", cwd=folder, env=path)
    wait_for(cluster, (folder / "start.1").exists)
    cluster.warn(job)
    ended = cluster.wait(job, timeout=60)
    log = (folder / f"slurm-{job}.out").read_text()
    assert ended["JobState"] == "COMPLETED" and ended["Restarts"] == "2", log
    assert log.count("the time limit is near") == 2 and "asked to end" in log


def test_a_cancelled_job_does_not_come_back(cluster, folder):
    """srun hands the ranks' status 75 to the script while Slurm ends the job: it must not requeue itself."""
    script, path = stand_in(folder)
    job = cluster.sbatch("--ntasks=2", script, "chain.yaml", cwd=folder, env=path | {"HPCSIM_LAUNCHER": "srun"})
    log = folder / f"slurm-{job}.out"
    wait_for(cluster, lambda: log.exists() and log.read_text().count("at work") == 2)
    cluster.scancel(job)
    assert cluster.wait(job, timeout=30)["JobState"] == "CANCELLED"
    time.sleep(7)  # a requeued job would be back by now
    assert cluster.job(job)["JobState"] == "CANCELLED" and cluster.job(job)["Restarts"] == "0"
    assert "asked to end" in log.read_text() and "not requeued" in log.read_text()
