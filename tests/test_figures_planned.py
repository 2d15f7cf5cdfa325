"""What figures and checks ask for is tried against the plan, at both scales, before anything is computed."""

import math

import numpy as np
import pytest
import yaml
from conftest import ROOT

from hpcsim import cli, figures, store
from hpcsim.analysis import spins
from hpcsim.run import config
from hpcsim.run.plan import plan
from hpcsim.store.collect import outline

CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))
GOOD = {
    "model": {"name": "gain_loss_lattice", "S": 1, "gain": 0.5, "loss": 0.5},
    "method": {"name": "liouvillian", "task": "spectrum", "eigenvalues": 3},
    "sweep": [{"model.S": [0.5, 1, 1.5]}, {"model.gain": [0.2, 0.4], "model.loss": [0.1, 0.3]}],
    "quick": {"sweep": [{"model.S": [0.5, 1]}, {"model.gain": [0.2, 0.4], "model.loss": [0.1, 0.3]}]},
}
PANEL = {"y": "gap", "x": "gain", "by": "S"}
CHECK = {"name": "c", "y": "gap", "x": "gain", "by": "S", "analysis": "maximum", "above": 0}
LINES = {"y": "eigenvalues", "x": "gain", "by": "S", "select": {"eigenvalue": 1}}


def run(command, tmp_path, capsys, panel=PANEL, check=CHECK, arguments=()):
    """Exit status and the message of a command on the good config with this panel and check."""
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "figures": [{"file": "f", "panels": [panel], "checks": [check]}]}))
    status = cli.main([command, str(path), *arguments])
    return status, capsys.readouterr().err


BAD = {
    "y": ({"y": "gapp"}, ["y = gapp", "no such variable", "gap, gap_k"]),
    "x": ({"x": "gian"}, ["x = gian", "no such variable"]),
    "x that is no coordinate": ({"x": "gap_k"}, ["x: gap_k is no coordinate here", "S, gain"]),
    "by": ({"by": "Jx"}, ["by = Jx", "no such variable"]),
    "a dimension left over": ({"by": None}, ["not one curve over gain", "add by or select for S"]),
    "select": ({"select": {"S": 2}}, ["select: S = 2", "0.5, 1, 1.5"]),
    "select of nothing": ({"select": {"T": 2}}, ["select = T"]),
    "divide": ({"divide": "cels"}, ["divide: cels", "neither a parameter"]),
    "part of a real number": ({"part": "real"}, ["gap is real", "leave out part"]),
    "no part of a complex one": ({**LINES, "part": None}, ["eigenvalues is complex", "give part"]),
    "label": ({"label": "{Jx}"}, ["label '{Jx}'", "Jx does not fit"]),
    "theory": ({"overlays": [{"theory": "polarised_Sz"}]}, ["polarised_Sz: Jx", "neither a parameter"]),
    "fit of nothing": ({"overlays": [{"fit": "power_law", "select": {"S": 7}}]}, ["select: S = 7", "0.5, 1, 1.5"]),
    "map": ({"kind": "map", "by": None, "z": "eigenvalue"}, ["eigenvalue", "neither a parameter"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_panel_that_no_output_has_is_refused_by_check(name, tmp_path, capsys):
    change, words = BAD[name]
    status, message = run("check", tmp_path, capsys, {key: v for key, v in (PANEL | change).items() if v is not None})
    assert status == 2 and message.count("\n") == 1 and "figures: figure f, panel 0: " in message, message
    for word in words:
        assert word in message


@pytest.mark.parametrize("change", [{"y": "gapp"}, {"by": "sites"}, {"select": {"S": 2}}, {"expect": "gaussian_gap"}])
def test_a_check_that_no_output_has_is_refused_by_run(change, tmp_path, capsys):
    if "expect" in change:  # a theory that changes along the curve
        change = change | {"above": None, "within": 0.1}
    check = {key: value for key, value in (CHECK | change).items() if value is not None}
    status, message = run("run", tmp_path, capsys, check=check, arguments=["--out", str(tmp_path / "r.h5")])
    assert status == 2 and "figures: figure f, check 'c': " in message, message
    assert not list(tmp_path.glob("*.h5*"))


TABLE = [["select.S", "expect", "within"], [1.0, 0.2, 0.1], [1.5, 0.3, 0.2]]


def test_a_table_is_a_check_for_each_row(tmp_path, capsys):
    check = {key: value for key, value in CHECK.items() if key != "above"} | {"select": {"gain": [0.1, 0.5]}}
    given = check | {"name": "{S}: {expect}", "table": TABLE}
    (figure,) = figures.parse([{"file": "f", "panels": [PANEL], "checks": [CHECK, given]}])
    found = [(c.name, c.select, c.expect, c.within, c.y) for c in figure.checks[1:]]
    rows = [("1.0: 0.2", 1.0, 0.2, 0.1), ("1.5: 0.3", 1.5, 0.3, 0.2)]
    assert found == [(name, {"gain": [0.1, 0.5], "S": S}, e, w, ("gap",)) for name, S, e, w in rows]
    status, message = run("check", tmp_path, capsys, check=given | {"table": [TABLE[0], [2, 0.2, 0.1]]})
    assert status == 2 and "figures: figure f, check '2: 0.2': select: S = 2" in message


@pytest.mark.parametrize(
    "table, words",
    [
        ([], "check 0: a table is a list of rows, [[KEY, ...], [value, ...], ...]"),
        (5, "check 0: a table is a list of rows"),
        ([["expect"]], "check 0: a table is a list of rows"),
        ([["expect", "y"], [1]], "check 0: the row [1] does not have a value for each of expect, y"),
        ([["expct", "within"], [1, 1]], "checks.0.expct = 1: unknown key"),
    ],
)
def test_a_wrong_table_is_one_message(table, words, tmp_path, capsys):
    check = {key: value for key, value in CHECK.items() if key != "above"}
    status, message = run("check", tmp_path, capsys, check=check | {"table": table})
    assert status == 2 and words in message and message.count("\n") == 1, message


def test_what_quick_does_not_compute_is_found_by_check_of_the_whole(tmp_path, capsys):
    only_large = CHECK | {"select": {"S": 1.5}}
    status, message = run("check", tmp_path, capsys, check=only_large)
    assert status == 2 and "with --quick: figures: figure f, check 'c': select: S = 1.5" in message
    assert run("check", tmp_path, capsys, check=only_large, arguments=["--quick"])[0] == 2
    assert run("check", tmp_path, capsys)[0] == 0


def test_the_outline_is_the_file_without_its_numbers(tmp_path):
    loaded = config.resolve(GOOD)
    expected = outline(plan(loaded).layout)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert cli.main(["run", str(path), "--out", str(tmp_path / "r.h5")]) == 0
    assert cli.main(["collect", str(tmp_path / "c.h5"), str(tmp_path / "r.h5")]) == 0
    found = store.load(tmp_path / "c.h5")
    assert expected.config == found.config and expected.variables.keys() == found.variables.keys()
    for name, variable in found.variables.items():
        assert (variable.dims, variable.values.shape) == (
            expected.variables[name].dims,
            expected.variables[name].values.shape,
        )
        assert {**variable.attrs} == {**expected.variables[name].attrs}


def corners(loaded):
    """The config with the first, the last, the smallest and the largest number of every axis alone, and all words."""
    thinned = []
    for axis in loaded["sweep"]:
        values = next(iter(axis.values()))
        kept = {0, len(values) - 1} if np.array(values).dtype.kind in "if" else range(len(values))
        kept = sorted({*kept, int(np.argmin(values)), int(np.argmax(values))})
        thinned.append({key: [several[i] for i in kept] for key, several in axis.items()})
    return loaded | {"sweep": thinned}


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_figure_finds_its_numbers_at_both_scales(path, quick):
    """Outputs are planned at the corners of the sweep, where dimensions are longest, labels at all points."""
    raw = config.read(path)
    assert raw.get("quick"), "every shipped config has a quick scale"
    loaded = config.resolve(raw, quick=quick, folder=path.parent)
    if "state" in loaded["method"].get("initial", ()):  # that another run saves: no figure depends on where it starts
        del loaded["method"]["initial"]
    planned = plan(corners(loaded))
    planned.problem(0)  # as a run finds it again from what was resolved
    points = math.prod(config.shape(loaded))
    whole = planned.config | {"sweep": loaded["sweep"]}
    layout = store.Layout(whole, tuple(loaded["sweep"]), planned.outputs, np.arange(points), np.zeros(points, int))
    figures.verify(figures.parse(loaded["figures"], execute=True), outline(layout))


def test_no_theory_is_evaluated_before_there_are_numbers(monkeypatch):
    """Neither by `check` nor at the start of a run: it may take long."""
    monkeypatch.setattr(spins, "_from_down", lambda *_: pytest.fail("the master equation is integrated"))
    (path,) = (path for path in CONFIGS if path.parts[-2:] == ("huber2021", "fig3.yaml"))
    test_every_shipped_figure_finds_its_numbers_at_both_scales(path, quick=False)
