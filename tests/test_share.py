"""One sweep shared by the tasks of a job array."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from conftest import ROOT

import hpcsim
from hpcsim import cli
from hpcsim.run import config, share
from hpcsim.run import plan as planning

SWEEP = {
    "model": {"name": "gain_loss_lattice", "S": 0.5, "loss": 0.4},
    "method": {"name": "liouvillian"},
    "sweep": [{"model.S": [0.5, 1]}, {"model.gain": [0.2, 0.6, 1.0]}],
}


def slurm(task, count=3, first=0, step=1):
    names = {"ID": task, "COUNT": count, "MIN": first, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(SWEEP))
    return tmp_path


def test_the_tasks_of_an_array_compute_the_sweep_once(folder, monkeypatch, capsys):
    counted = np.zeros(6, int)
    for task in (4, 6, 8):
        for name, value in slurm(task, 3, 4, 2).items():
            monkeypatch.setenv(name, value)
        assert cli.main(["run", "c.yaml", "--out", "c.h5", "--share", "array"]) == 0
        own = f"c.{task // 2 - 1}-of-3.h5"
        counted += hpcsim.open(own).records_done.values.ravel()
        assert cli.main(["status", own]) == 0
        assert f"share {task // 2 - 1} of 3 is complete; hpcsim collect takes" in capsys.readouterr().out
    assert cli.main(["collect", "all.h5", *(f"c.{i}-of-3.h5" for i in (1, 2, 3))]) == 0
    assert (counted == 1).all() and not (folder / "c.h5").exists()
    together, whole = hpcsim.open("all.h5"), hpcsim.solve(**SWEEP)
    assert all(together[name].values.tobytes() == whole[name].values.tobytes() for name in ("Sz", "purity", "residual"))
    assert cli.main(["run", "c.yaml", "--out", "c.h5", "--share", "3/3"]) == 0  # nothing is left to do


def test_shares_cost_about_the_same_and_leave_nothing_out():
    sweep = [{"model.S": [1, 2, 3, 4, 5, 6]}, {"model.gain": np.linspace(0.1, 1, 8).tolist()}]
    plan = planning.plan(config.resolve(SWEEP | {"sweep": sweep, "method": {"name": "liouvillian", "task": "gap"}}))
    point, everything = plan.numbering.arrays()[0], np.arange(plan.numbering.records)
    shares = [plan.shared(share.Share(i, 5)).among(everything) for i in range(1, 6)]
    assert sorted(np.concatenate(shares)) == everything.tolist()
    points = np.concatenate([np.unique(point[mine]) for mine in shares])
    assert sorted(points) == np.unique(point).tolist()  # whole ones
    seconds = [plan.time[mine].sum() for mine in shares]
    assert max(seconds) < 1.3 * min(seconds)


@pytest.mark.parametrize(
    "text, environment, words",
    [
        ("9/8", {}, "--share 9/8: write I/N with I from 1 to N, for example 3/8, or array"),
        ("0/8", {}, "--share 0/8: write I/N"),
        ("third", {}, "--share third: write I/N"),
        ("array", {}, "no job array (SLURM_ARRAY_TASK_ID is not set); write I/N"),
        (
            "array",
            slurm(7, 3, 1, 2),
            "task 7 is none of 3 in steps of 2 from 1; number the tasks without gaps, as --array=0-2",
        ),
        ("array", slurm(4, 3, 1, 2), "task 4 is none of 3"),
        ("array", slurm("x"), "are to be numbers"),
    ],
)
def test_what_is_no_share_is_told(text, environment, words, folder, monkeypatch, capsys):
    for name in slurm(0):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["run", "c.yaml", "--out", "c.h5", "--share", text]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("hpcsim: error:") == 1 and not list(folder.glob("*.h5"))


STAND_INS = {
    "scontrol": 'echo "   Command={jobs}/array.sbatch c.yaml"',
    "mpirun": 'shift 2; exec "$@"',
    "hpcsim": 'echo "hpcsim $*"; [ "$1" != run ] || touch results/c.2-of-3.h5',
}


@pytest.mark.parametrize("more, given", [([], "array"), (["--share", "2/3"], "2/3")])
def test_array_sbatch_runs_a_share_and_collects_all(folder, more, given):
    """Slurm's commands and the ranks stood in for."""
    jobs = folder / "jobs"
    jobs.mkdir()
    for name in ("array.sbatch", "run.sbatch"):
        shutil.copy(ROOT / "jobs" / name, jobs)  # no .venv beside them
    for name, text in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text.format(jobs=jobs)}\n")
        (folder / name).chmod(0o755)
    task = {
        "SLURM_JOB_ID": "12",
        "SLURM_ARRAY_JOB_ID": "11",
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NODELIST": "n",
        **slurm(1),
    }
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(folder)}
    copy = shutil.copy(jobs / "array.sbatch", folder / "slurm_script")
    done = subprocess.run(["bash", copy, "c.yaml", *more], env=task | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"hpcsim run c.yaml --out results/c.h5 --share {given}\n" in done.stdout
    assert "hpcsim collect results/c-collected.h5 results/c.2-of-3.h5\n" in done.stdout
    alone = subprocess.run(["bash", copy, "c.yaml"], env=path, capture_output=True, text=True)
    assert alone.returncode == 2 and "no job array: sbatch --array=0-7" in alone.stderr
