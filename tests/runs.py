"""Small runs by the command line, in this process."""

import yaml
from mpi4py import MPI

from hpcsim import cli, store

CONFIG = {
    "title": "two spins",
    "model": {"name": "gain_loss_lattice", "S": 1, "gain": 0.2},
    "method": "gaussian",
    "sweep": [{"model.loss": [1.0, 1.5, 2.0]}],
    "figures": [
        {
            "file": "figure",
            "panels": [{"y": "Sz", "x": "loss", "by": "sublattice"}],
            "checks": [{"name": "polarised", "y": "Sz", "analysis": "maximum", "below": 2}],
        }
    ],
}


def command(*words):
    return cli.main([str(word) for word in words])


def write(path, **sections):
    path.write_text(yaml.safe_dump(CONFIG | sections))
    return path


def run(path, **sections):
    """The run file `path` of CONFIG with other sections."""
    assert command("run", write(path.with_suffix(".yaml"), **sections), "--out", path) == 0
    return path


def shortened(path, without):
    """A copy of a run file without some records, as a run that was stopped leaves it."""
    (data,), copy = store.read_runs(path), path.with_name("short.h5")
    copy.unlink(missing_ok=True)
    with store.open_run(copy, data.layout, MPI.COMM_SELF) as file:
        for record in set(range(len(data.done))) - set(without):
            file.write(record, {name: array[record] for name, array in data.arrays.items()}, 1.0)
    return copy


def collected(run):
    """The collected file of a run file."""
    path = run.with_suffix(".c.h5")
    assert command("collect", path, run) == 0
    return path
