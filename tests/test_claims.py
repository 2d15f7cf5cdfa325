"""What checks say of the claims of publications, the tables beside the pictures, and the page that lists them."""

import runpy

import numpy as np
import pytest
import yaml
from conftest import ROOT
from matplotlib.figure import Figure
from pydantic import ValidationError
from test_figures import LOSSES, SPINS, check, collected, figure, panel

from hpcsim import figures, store
from hpcsim.figures import numbers
from hpcsim.run import config

claims = runpy.run_path(str(ROOT / "jobs/docs/claims.py"))
EXPONENT = check(y="gap", x="S", analysis="power_law", select={"loss": 0.5}, expect=-1, within=0.1)
SAID = EXPONENT | {"claim": "the gap falls as a power"}


@pytest.fixture
def plotted(tmp_path, monkeypatch):
    """plotted(section, tables) -> files, results, of the data of test_figures"""

    def run(section, tables=True):
        data = collected([section])
        data.attrs.update(title="a title", sessions='[{"command": "hpcsim run x.yaml", "ranks": 2, "wall_seconds": 3}]')
        monkeypatch.setattr(store, "load", lambda path: data)
        monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: None)  # pictures are tested elsewhere
        return figures.plot(tmp_path / "data.h5", tmp_path, tables=tables)

    return run


@pytest.mark.parametrize(
    "keys, verdict",
    [
        ({}, "reproduced"),
        ({"published": -1.05}, "reproduced"),
        ({"published": -0.85}, "differs"),
        ({"differs": True}, "differs"),
        ({"expect": -0.5, "published": -0.5}, "open"),
        ({"expect": None, "within": None, "below": -0.9, "published": -0.95}, "reproduced"),
        ({"expect": None, "within": None, "below": -0.9, "published": -0.85}, "differs"),
    ],
)
def test_a_verdict_is_found_from_ours_and_the_published_number(keys, verdict):
    section = figure(checks=[{key: v for key, v in (SAID | keys).items() if v is not None}])
    (result,) = figures.judge(collected(), *figures.parse([section]))
    assert (result.verdict, result.passed) == (verdict, verdict != "open")
    assert (
        "published" in result.note and f"published ({keys.get('published')})" in result.note or "published" not in keys
    )


def test_a_check_of_no_claim_has_no_verdict():
    (result,) = figures.judge(collected(), *figures.parse([figure(checks=[EXPONENT])]))
    assert result.passed and result.verdict == "" and "published" not in result.note


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"published": 1}, "give claim"),
        ({"differs": True}, "give claim"),
        ({"claim": "c", "published": 1, "differs": True}, "leave it out"),
    ],
)
def test_numbers_without_a_statement_are_refused(keys, words):
    with pytest.raises(ValidationError, match=words):
        figures.parse([figure(checks=[EXPONENT | keys])])


def test_the_table_has_what_is_plotted_and_the_checks(plotted, tmp_path):
    panels = [
        {"y": "Sz", "x": "loss", "by": "sublattice", "divide": "S", "select": {"S": 8}},
        {"kind": "map", "y": "gap", "x": "loss", "z": "S"},
    ]
    files, _ = plotted(figure(panels=panels, checks=[SAID | {"published": -0.85}, EXPONENT | {"name": "no claim"}]))
    assert files[-1] == tmp_path / "figure.csv"
    text = files[-1].read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0] == "# figure: a title" and "2 ranks, 3.0 s: hpcsim run x.yaml" in head[1]
    rows = [line.split(",") for line in text.splitlines()[len(head) + 1 :]]
    curve = [row for row in rows if row[:2] == ["a", "sublattice b"]]
    assert np.allclose([float(row[2]) for row in curve], LOSSES)
    assert np.allclose([[float(row[4]), float(row[5])] for row in curve], np.column_stack([-LOSSES, 0 * LOSSES + 0.01]))
    image = {(float(row[2]), float(row[3])): float(row[4]) for row in rows if row[0] == "b"}
    assert len(image) == 15 and image[0.5, SPINS[0]] == pytest.approx(0.25)
    found = numbers.checks(files[-1])
    assert found["a statement"]["verdict"] == "differs" and found["no claim"]["verdict"] == "pass"
    assert float(found["no claim"]["value"]) == pytest.approx(-1) and found["no claim"]["expected"] == "-1 ± 0.1"
    assert [f.suffix for f in plotted(figure(), tables=False)[0]] == [".png", ".pdf"]


def test_a_table_replaces_none_but_its_like(plotted, tmp_path):
    (tmp_path / "figure.csv").write_text("my,own,data\n1,2,3\n")
    with pytest.raises(store.StoreError, match="is not the table of a figure; give another folder with --to"):
        plotted(figure())
    assert not (tmp_path / "figure.png").exists()
    (tmp_path / "figure.csv").unlink()
    assert plotted(figure())[0] == plotted(figure())[0]


def test_points_over_another_result(plotted, tmp_path):
    plane = {"y": "eigenvalues", "x": "eigenvalue", "by": "loss", "part": "imag", "over": "real"}
    other = {"y": "gap", "x": "loss", "over": "missing"}
    plotted(figure(panels=[plane | {"select": {"S": 2}}, other | {"select": {"S": 2}}]))
    rows = [line.split(",") for line in (tmp_path / "figure.csv").read_text().splitlines()]
    found = [(float(row[2]), float(row[4])) for row in rows if row[0] == "a" and row[1] == "loss = 0.5"]
    assert found == [(-0.25 * n, -0.5 * n) for n in range(3)]
    assert [row[2] for row in rows if row[0] == "b"][0] == f"{LOSSES[0] / 2:g}"
    for change, words in ({"over": "Sz"}, "over: Sz is no real result"), ({"over": "gapp"}, "over = gapp: no such"):
        with pytest.raises(store.StoreError, match=words):
            plotted(figure(panels=[other | change | {"select": {"S": 2}}]))
    with pytest.raises(ValidationError, match="over shows the points of lines alone"):
        figures.parse([panel(over="missing", overlays=[{"fit": "power_law"}])])


def test_the_page_lists_every_claim_with_ours(tmp_path):
    folder = tmp_path / "configs" / "paper2020"
    folder.mkdir(parents=True)
    section = {"panels": [{"y": "gap", "x": "S"}]}
    system = {"model": "gain_loss_lattice", "method": {"name": "liouvillian", "task": "spectrum"}}
    for name, keys in ("kept", {"published": -0.85}), ("other", {}):
        drawn = [section | {"file": name, "checks": [SAID | {"select": {}} | keys, EXPONENT | {"select": {}}]}]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(system | {"figures": drawn}))
    results = [figures.CheckResult("a statement", -1.0, 0.02, "-1 ± 0.1", True, "", "differs")]
    figure_of = figures.parse([section | {"file": "kept"}])[0]
    (folder / "kept.csv").write_text(numbers.table(collected(), figure_of.model_copy(update={"panels": []}), results))
    page = claims["page"](tmp_path / "configs")
    assert "2 claims: 0 reproduced, 1 differs, 1 open." in page
    said = "the gap falls as a power"
    assert f"| paper2020/kept | {said} | -0.85 | a statement | -1 ± 0.02 | -1 ± 0.1 | differs |" in page
    assert f"| paper2020/other | {said} | no number | a statement | no run kept |  | open |" in page


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*/*.csv")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_table_beside_a_config_is_of_its_checks(path):
    """All of them, with the criteria that the config has, and none failed."""
    (found,) = (
        each
        for source in path.parent.glob("*.yaml")
        for each in figures.parse(config.read(source)["figures"], execute=True)
        if each.file == path.stem
    )
    kept = numbers.checks(path)
    assert not [name for name, row in kept.items() if row["verdict"] in ("FAIL", "open")]
    for one in found.checks:
        rows = [row for name, row in kept.items() if name == one.name or name.startswith(f"{one.name} (")]
        assert rows, one.name
        if isinstance(one.expect, int | float):
            assert all(row["expected"].startswith(f"{one.expect:.4g} ± ") for row in rows), one.name
        for sign, bound in (">", one.above), ("<", one.below):
            assert bound is None or all(f"{sign} {bound:g}" in row["expected"] for row in rows), one.name
        assert all((row["verdict"] in ("reproduced", "differs")) == bool(one.claim) for row in rows), one.name
