"""Sweeps so large that only some of their points are planned."""

import logging
import re

import numpy as np
import pytest

import hpcsim
from hpcsim import cli, store
from hpcsim.run import config, execute, samples
from hpcsim.run import plan as planning
from hpcsim.run.numbering import Numbering
from hpcsim.store.collect import combine
from hpcsim.store.layout import config_of, config_text

MODEL = {"name": "collective_spin", "S": 1, "decay": 1.0}


def sections(method, **axes):
    return config.resolve(
        {"model": MODEL, "method": method, "sweep": [{f"model.{key}": list(values)} for key, values in axes.items()]}
    )


@pytest.fixture
def few(monkeypatch):
    """Plans by samples what has more than six points; no point is looked at by chance."""
    monkeypatch.setattr(planning, "EVERY", 6)
    monkeypatch.setattr(samples, "LINE", 5)
    monkeypatch.setattr(samples, "RANDOM", 0)


@pytest.mark.parametrize("counts", [[2, 2, 2], [1, 3, 0, 2], [5]])
def test_records_are_numbered_point_after_point(counts):
    numbering = Numbering(counts)
    point, index = numbering.arrays()
    assert point.tolist() == [p for p, n in enumerate(counts) for _ in range(n)]
    assert [numbering.place(r) for r in range(numbering.records)] == list(zip(point, index))
    assert [numbering.count(p) for p in range(numbering.points)] == counts


def test_samples_tell_the_costs_of_all_points(few, monkeypatch):
    method = {"name": "liouvillian", "task": "evolve", "times": [0, 5]}
    raw = sections(method, twist=np.linspace(1, 40, 7), drive=np.geomspace(10, 1000, 11), S=[0.5, 1, 4])
    sampled = planning.plan(raw)
    looked_at = len(samples.chosen((7, 11, 3)))
    monkeypatch.setattr(planning, "EVERY", 1000)
    exact = planning.plan(raw)
    assert looked_at < 40 and sampled.numbering.records == exact.numbering.records == 231
    assert sampled.outputs == exact.outputs and sampled.config == exact.config
    assert np.allclose(sampled.bytes, exact.bytes, rtol=0.01)
    ratio = sampled.time / exact.time
    assert ratio.min() > 0.4 and ratio.max() < 2.5 and exact.time.max() > 20 * exact.time.min()


def test_each_value_of_an_axis_is_checked(few):
    values = np.linspace(1, 2, 40)
    values[17] = -1.0
    with pytest.raises(config.ConfigError, match=r"model.decay = -1.0: must be greater than or equal to 0"):
        planning.plan(sections("liouvillian", drive=[0.1, 0.2], decay=values))


def test_a_point_that_does_not_fit_fails_alone(few, tmp_path):
    raw = sections("liouvillian", drive=[0.3], decay=[1.0, 0.0, 2.0], dephasing=[1.0, 0.0, 2.0])
    with pytest.raises(
        execute.RecordsFailed, match="1 of 9 records failed.*decay = 0.0, .*dephasing = 0.0.*not unique"
    ):
        execute.run(lambda: planning.plan(raw), tmp_path / "run.h5")
    (run,) = store.read_runs(tmp_path / "run.h5")
    data = combine([run]).variables
    assert np.isnan(data["Sz"].values[0, 1, 1]).all() and np.isfinite(data["Sz"].values).sum() == 8
    assert data["records_failed"].values.tolist() == [[[0, 0, 0], [0, 1, 0], [0, 0, 0]]]


def test_a_point_that_was_planned_is_not_made_again(monkeypatch):
    made = []

    class Counted(planning.Problem):
        def __init__(self, model, *arguments):
            made.append(model["drive"])
            super().__init__(model, *arguments)

    monkeypatch.setattr(planning, "Problem", Counted)
    monkeypatch.setattr(planning, "LOOKED", 3)
    planned = planning.plan(sections("liouvillian", drive=[0.1, 0.2, 0.3, 0.4]))
    execute.compute(lambda: planned)
    assert made == [0.1, 0.2, 0.3, 0.4, 0.4]  # the last was not kept
    assert not planned.looked and not planned.without_costs().looked


def test_where_records_need_others_all_points_are_planned(few, caplog):
    caplog.set_level(logging.INFO, "hpcsim")
    raw = sections({"name": "liouvillian", "task": "gap"}, decay=np.linspace(1, 2, 8))
    found = planning.plan(raw)
    assert "plans each of 8 points" in caplog.text
    assert set(found.needs) >= {1} and found.numbering.records == len(found.time) > 8


def test_the_text_of_a_config_has_the_range_of_a_long_axis():
    values = [float(f"{x:.12g}") for x in np.linspace(0.1, 0.7, 3001)]
    long, odd = {"sweep": [{"model.drive": values}]}, {"sweep": [{"model.drive": [*values, 7.0]}]}
    assert len(config_text(long)) < 100 < 10000 < len(config_text(odd))
    assert config_of(config_text(long)) == long and config_of(config_text(odd)) == odd


def test_points_that_are_refused_fail_alone(tmp_path, capsys, caplog):
    """They block nothing: others are computed, all faults are told once, and none of this changes with a resume."""
    written, out, collected = tmp_path / "run.yaml", tmp_path / "run.h5", tmp_path / "all.h5"
    text = (
        "model: {name: collective_spin, twist: 1}\n"
        "method: {name: liouvillian, task: steady_state}\n"
        "sweep: [{model.S: [2, 4, 8]}, {model.decay: [0.0, 0.5]}]\n"
    )
    written.write_text(text)
    assert cli.main(["check", str(written)]) == 0
    told = r"3 of 6 points will fail, the first is point 0 of the sweep, model.S = 2, model.decay = 0.0: .*not unique"
    assert len(re.findall(told, capsys.readouterr().out)) == 1
    for done in 0, 3:
        caplog.clear()
        assert cli.main(["run", str(written), "--out", str(out)]) == 1
        assert f"({done} done)" in caplog.text and len(re.findall(told, caplog.text)) == 1
        assert "record 0 at model.S = 2, model.decay = 0.0, record 2 at model.S = 4" in capsys.readouterr().err
    assert cli.main(["status", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "3/6 records, 3 failed, 3/6 points" in shown and "point 4 (model.S = 8, model.decay = 0.0) failed" in shown
    assert cli.main(["collect", str(collected), str(out)]) == 0
    assert "3 failed at model.S = 2, model.decay = 0.0" in caplog.text and "--retry-failed" in caplog.text
    alone = hpcsim.solve(model={"name": "collective_spin", "twist": 1, "S": 4, "decay": 0.5}, method="liouvillian")
    found = hpcsim.open(collected).Sz
    assert np.isfinite(found.values[..., 0]).tolist() == [[False, True]] * 3
    assert found.sel(S=4, decay=0.5).values == alone.Sz.values


def test_a_sweep_refused_everywhere_or_kept_in_memory_is_not_begun():
    model = {"name": "collective_spin", "twist": 1, "S": 2}
    for values in [0.0], [0.0, 0.5]:
        with pytest.raises(config.ConfigError, match=r"not unique.*point 0 of the sweep: {'model.decay': 0.0}"):
            hpcsim.solve(model=model, method="liouvillian", sweep={"model.decay": values})


def test_what_is_refused_among_points_planned_by_samples(few):
    """The costs of others do not follow from it."""
    raw = sections("liouvillian", drive=[0.0, 0.3], decay=np.linspace(0, 2, 9), dephasing=[0.0, 1.0])
    found = planning.plan(raw)
    assert 0 in found.refused and found.first() == 2 and min(found.time) > 0
    assert any("at least" in text and "not unique" in text for text in planning.warnings(found))
