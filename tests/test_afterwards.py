"""After the run: what collect and plot say of records that are missing."""

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
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


def hpcsim(*words):
    return cli.main([str(word) for word in words])


def write(path, **sections):
    path.write_text(yaml.safe_dump(CONFIG | sections))
    return path


def run(path, **sections):
    """The run file `path` of CONFIG with other sections."""
    assert hpcsim("run", write(path.with_suffix(".yaml"), **sections), "--out", path) == 0
    return path


def shortened(path, without):
    """A copy of a run file without some records, as a run that was stopped leaves it."""
    (data,), copy = store.read_runs(path), path.with_name("short.h5")
    copy.unlink(missing_ok=True)
    with store.open_run(copy, data.layout, MPI.COMM_SELF) as file:
        for record in set(range(len(data.done))) - set(without):
            file.write(record, {name: array[record] for name, array in data.arrays.items()}, 1.0)
    return copy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "run.h5")


@pytest.mark.parametrize("without, there", [({1}, "2 of 3 records"), ({0, 1, 2}, "0 of 3 records"), ((), "")])
def test_missing_records_are_told_and_noted_in_the_picture(whole, tmp_path, caplog, monkeypatch, without, there):
    drawn, original = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or original(self, *a, **k))
    path = tmp_path / "c.h5"
    assert hpcsim("collect", path, shortened(whole, without)) == 0
    said = [record.getMessage() for record in caplog.records if "records;" in record.getMessage()]
    assert [line.split(";")[0] for line in said] == [f"{path}: holds {there}"] * bool(there)
    assert hpcsim("plot", path) == (1 if there else 0)  # the check needs all points
    assert sum(f"{path}: holds {there};" in record.getMessage() for record in caplog.records) == 2 * bool(there)
    notes = [text.get_text() for text in drawn[0].findobj(lambda artist: hasattr(artist, "get_text"))]
    assert sum("records" in note for note in notes) == bool(there) and (not there or there in notes)


def test_records_that_failed_are_counted():
    counts = {"records_done": [4, 1], "records_total": [4, 4], "records_failed": [0, 2]}
    variables = {name: store.Variable(("S",), np.array(values)) for name, values in counts.items()}
    assert store.shortfall(store.Collected(variables, {}, {})) == "5 of 8 records, 2 failed"
    assert store.shortfall(store.Collected({}, {}, {})) == ""
