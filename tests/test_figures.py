"""The section `figures`: what it refuses, which numbers it takes, what it draws and how it judges."""

from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from conftest import ROOT
from pydantic import ValidationError

from hpcsim import cli, figures, store
from hpcsim.analysis import THEORY
from hpcsim.figures import words
from hpcsim.figures.curves import curves, evaluate
from hpcsim.figures.draw import _covers, _plain_ticks
from hpcsim.figures.section import Data
from hpcsim.figures.theories import Theory
from hpcsim.run import config

CONFIGS = sorted(ROOT.glob("configs/*/*.yaml"))
SPINS, LOSSES = np.array([2.0, 4.0, 8.0]), np.linspace(0.1, 0.5, 5)


def collected(section=()):
    """Sweep over S and over loss with gain = 2 loss; power laws in S, so that results are known."""
    S, loss, m = SPINS[:, None], LOSSES[None, :], np.array([1.0, -1.0])
    v = store.Variable
    variables = {
        "S": v(("S",), SPINS, {}),
        "loss": v(("loss",), LOSSES, {"units": "g", "long_name": "loss rate"}),
        "gain": v(("loss",), 2 * LOSSES, {}),
        "sublattice": v(("sublattice",), np.array(["a", "b"], object), {}),
        "eigenvalue": v(("eigenvalue",), np.arange(3), {}),
        "gap": v(("S", "loss"), loss / S, {"units": "g", "long_name": "Liouvillian gap"}),
        "Sz": v(("S", "loss", "sublattice"), (S * loss)[..., None] * m, {}),
        "Sz_stderr": v(("S", "loss", "sublattice"), 0.01 * S[..., None] * np.ones((3, 5, 2)), {}),
        "eigenvalues": v(("S", "loss", "eigenvalue"), (loss / S)[..., None] * np.arange(3) * (-1 - 2j), {}),
        "missing": v(("S", "loss"), np.where(loss > 0.45, np.nan, loss / S), {}),
    }
    model = {"name": "gain_loss_lattice", "cells": 1, "g": 1.0, "h": 0.5}
    return store.Collected(variables=variables, attrs={}, config={"model": model, "figures": list(section)})


def check(**keys):
    return {"name": "a statement", "analysis": "value", "y": "gap", "expect": 0, "within": 0.1} | keys


def figure(**keys):
    return {"file": "figure", "panels": [{"y": "gap", "x": "loss", "by": "S"}]} | keys


def panel(**keys):
    return figure(panels=[{"y": "gap", "x": "S"} | keys])


@pytest.fixture
def plot(tmp_path, monkeypatch):
    """plot(section, data) -> files, results"""

    def run(section, data=None):
        data = data or collected(section)
        monkeypatch.setattr(store, "load", lambda path: data)
        return figures.plot(tmp_path / "data.h5", tmp_path / "out")

    return run


# ------------------------------------------------------------------ the section

REFUSED = {
    "unknown key": (figure(panel=[]), "0.panel", "Extra inputs"),
    "no panel": (figure(panels=[]), "0.panels", "at least 1"),
    "a path as file": (figure(file="../x"), "0.file", "pattern"),
    "unknown kind": (panel(kind="pie"), "0.panels.0.kind", "'map'"),
    "map without z": (panel(kind="map"), "0.panels.0", "needs z"),
    "theory": (panel(overlays=[{"theory": "gausian"}]), "0.panels.0.overlays.0.theory", "known: gaussian_Sz"),
    "theory and fit": (
        panel(overlays=[{"theory": "gaussian_Sz", "fit": "power_law"}]),
        "0.panels.0.overlays.0",
        "one of",
    ),
    "theory with arguments": (
        panel(overlays=[{"theory": "gaussian_Sz", "select": {"S": 2}}]),
        "0.panels.0.overlays.0",
        "belong to a fit",
    ),
    "categories of lines": (panel(categories=["PM", "FM"]), "0.panels.0", "belong to a map"),
    "map with a fit": (panel(kind="map", z="loss", overlays=[{"fit": "power_law"}]), "0.panels.0", "no fit"),
    "line at a word": (panel(vlines=["here"]), "0.panels.0.vlines.0", "known: gaussian_Sz"),
    "braces": (panel(label="{S"), "0.panels.0.label.0", "expected '}'"),
    "divide": (panel(divide="S+1"), "0.panels.0.divide", "pattern"),
    "selection": (panel(select={"loss": [1]}), "0.panels.0.select.loss", "[from, to]"),
    "analysis": (figure(checks=[check(analysis="power")]), "0.checks.0.analysis", "power_law"),
    "argument": (
        figure(checks=[check(analysis="power_law", arguments={"theory": 1})]),
        "0.checks.0",
        "it has correction",
    ),
    "expect": (figure(checks=[check(expect="one")]), "0.checks.0.expect", "unknown theory"),
    "no criterion": (figure(checks=[check(expect=None, within=None)]), "0.checks.0", "either expect"),
    "no tolerance": (figure(checks=[check(within=None)]), "0.checks.0", "either expect"),
    "two criteria": (figure(checks=[check(below=1)]), "0.checks.0", "either expect"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_path_and_what_is_allowed(case):
    section, path, allowed = REFUSED[case]
    with pytest.raises(ValidationError) as caught:
        figures.parse([section])
    errors = caught.value.errors()
    assert len(errors) == 1, errors
    assert ".".join(map(str, errors[0]["loc"])) == path
    assert allowed in errors[0]["msg"]


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_config_has_a_figure_of_its_name_and_checks(path, quick):
    sections = figures.parse(config.load(path, quick=quick)["figures"])
    assert path.stem in [figure.file for figure in sections]
    assert all(figure.checks for figure in sections)


def test_an_empty_section_is_no_figure():
    assert figures.parse([]) == ()


# ------------------------------------------------------------------ which numbers


def test_one_curve_per_value_of_by_divided_by_the_coordinate():
    several = curves(collected(), Data(y="Sz", x="loss", by="S", divide="S^2", select={"sublattice": "b"}))
    assert len(several) == 3
    for curve, S in zip(several, SPINS):
        assert np.allclose(curve.x, LOSSES)
        assert np.allclose(curve.y, -LOSSES / S)
        assert np.allclose(curve.error, 0.01 / S)
        assert curve.known["S"] == S and curve.known["sublattice"] == "b"


def test_a_coordinate_that_advances_with_the_axis():
    (curve,) = curves(collected(), Data(y="gap", x="gain", select={"S": "max", "gain": [0.3, 0.9]}))
    assert np.allclose(curve.x, [0.4, 0.6, 0.8])
    assert np.allclose(curve.y, [0.2 / 8, 0.3 / 8, 0.4 / 8])
    assert np.allclose(curve.known["loss"], [0.2, 0.3, 0.4])
    assert curve.error is None


def test_values_are_found_but_not_near_misses():
    (curve,) = curves(collected(), Data(y="gap", x="S", select={"loss": 0.3 + 1e-12}))
    assert np.allclose(curve.y, 0.3 / SPINS)
    with pytest.raises(ValueError, match="loss = 0.31: the collected file has 0.1, 0.2, 0.3, 0.4, 0.5"):
        curves(collected(), Data(y="gap", x="S", select={"loss": 0.31}))


def test_parts_of_complex_numbers():
    select = {"S": 2, "eigenvalue": 1}
    for part, factor in {"real": -1, "imag": -2, "abs": np.sqrt(5), "decay": 1}.items():
        (curve,) = curves(collected(), Data(y="eigenvalues", x="loss", part=part, select=select))
        assert np.allclose(curve.y, factor * LOSSES / 2)
    with pytest.raises(ValueError, match="complex: give part"):
        curves(collected(), Data(y="eigenvalues", x="loss", select=select))


def test_without_x_all_points_are_taken_together():
    (curve,) = curves(collected(), Data(y="gap"))
    assert curve.y.shape == (15,)
    assert np.allclose(curve.y, curve.known["loss"] / curve.known["S"])


@pytest.mark.parametrize(
    "keys, message",
    {
        "variable": (dict(y="gapp"), "no such variable; the collected file has S, Sz"),
        "coordinate": (dict(y="gap", x="sublattice"), "no coordinate here; dimensions: S, loss"),
        "left over": (dict(y="gap", x="loss"), "add by or select for S"),
        "divide": (dict(y="gap", x="loss", by="S", divide="spin"), "spin is neither"),
        "word": (dict(y="gap", x="loss", select={"S": "large"}), "min or max"),
        "nothing": (dict(y="gap", x="S", select={"loss": [0.1, 0.2], "gain": [0.8, 1.0]}), "nothing is left"),
    }.values(),
)
def test_wrong_names(keys, message):
    with pytest.raises(ValueError, match=message):
        curves(collected(), Data(**keys))


def test_theory_takes_its_arguments_by_name():
    known = {"gain": 2.0, "g": 1.0, "h": 0.5, "S": 3}
    assert evaluate(Theory("upper_boundary", THEORY["upper_boundary"]), known) == pytest.approx(2.25 / 2)
    with pytest.raises(ValueError, match="gaussian_gap: loss is neither"):
        evaluate(Theory("gaussian_gap", THEORY["gaussian_gap"]), known)


# ------------------------------------------------------------------ drawing and judging


def test_plot_writes_png_and_pdf_with_overlays_and_maps(plot):
    panels = [
        {
            "y": "Sz",
            "x": "loss",
            "by": "sublattice",
            "divide": "S",
            "select": {"S": "max"},
            "vlines": [0.25],
            "overlays": [{"theory": "gaussian_Sz", "label": "theory"}],
            "legend": "outside",
        },
        {
            "y": "gap",
            "x": "S",
            "select": {"loss": 0.5},
            "xscale": "log",
            "yscale": "log",
            "overlays": [{"fit": "power_law", "label": "exponent {value:.2f}"}],
        },
        {"kind": "map", "y": "gap", "x": "loss", "z": "S"},
        {"y": ["gap", "missing"], "x": "loss", "select": {"S": 2}, "ylim": [0, 1]},
    ]
    files, results = plot([figure(panels=panels, columns=2)])
    assert [f.name for f in files] == ["figure.png", "figure.pdf"]
    assert results == []
    image = matplotlib.image.imread(files[0])
    assert image.shape[0] > 500 and image[..., :3].std() > 0.05
    assert files[1].read_bytes().startswith(b"%PDF")


def test_categories_of_a_map_name_its_colours(plot, monkeypatch):
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    plot(
        [
            figure(
                panels=[
                    {"kind": "map", "y": "gap", "x": "loss", "z": "S", "categories": ["PM", "FM"], "barlabel": "phase"}
                ]
            )
        ]
    )
    axes, bar = seen[0].axes
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["PM", "FM"] and bar.get_ylabel() == "phase"
    assert axes.collections[0].get_clim() == (-0.5, 1.5) and axes.collections[0].cmap.N == 2


@pytest.mark.parametrize(
    "limits, expected",
    [
        ([0.05, 2.0], ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        ([1e-3, 10.0], ["0.001", "0.01", "0.1", "1", "10"]),
        ([1e-6, 1e-2], ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²"]),
        ([1e-8, 1.0], ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]),
    ],
)
def test_a_logarithmic_axis_is_written_in_one_way(limits, expected):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.set_yscale("log")
    axes.set_ylim(limits)
    _plain_ticks(axes.yaxis)
    low, high = limits
    shown = [label.get_text() for label, at in zip(axes.get_yticklabels(), axes.get_yticks()) if low <= at <= high]
    assert shown == expected


def test_curves_and_theory_are_where_they_should_be(plot, monkeypatch):
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    plot(
        [
            figure(
                panels=[
                    {
                        "y": "Sz",
                        "x": "loss",
                        "by": "sublattice",
                        "divide": "S",
                        "select": {"S": 8},
                        "overlays": [{"theory": "gaussian_Sz"}],
                    }
                ]
            )
        ]
    )
    (axes,) = seen[0].axes
    assert axes.get_xlabel() == "loss rate (g)"
    assert np.allclose(axes.containers[0].lines[0].get_ydata(), LOSSES)
    theory = [line for line in axes.lines if len(line.get_xdata()) == 400]
    assert len(theory) == 2
    x, y = theory[0].get_data()
    # gain = 2 loss: up-up while 2 loss² < (g-h)²
    assert np.all(np.isnan(y) == (2 * x**2 >= 0.25))
    P, C = 0.02, np.sqrt((0.25 - 0.02) * (2.25 - 0.02))
    assert y[0] == pytest.approx(1 - (1 + P / C) / 8)


@pytest.mark.parametrize("overlay, line", [({}, "None"), ({"label": "theory"}, "-"), (None, "-")])
def test_points_are_joined_where_no_theory_goes_through_each_curve(plot, monkeypatch, overlay, line):
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    overlays = [] if overlay is None else [{"theory": "gaussian_gap"} | overlay]
    plot([panel(x="loss", by="S", overlays=overlays)])
    assert [container.lines[0].get_linestyle() for container in seen[0].axes[0].containers] == [line] * 3


def test_a_check_is_met_within_its_tolerance_only(plot):
    power = dict(y="gap", x="S", analysis="power_law", select={"loss": 0.5})
    bound = dict(expect=None, within=None, analysis="maximum")
    _, results = plot(
        [
            figure(
                checks=[
                    check(**power, name="right", expect=-1, within=1e-6),
                    check(**power, name="wrong", expect=-0.9, within=0.09),
                    check(**bound, name="below", below=0.26),
                    check(**bound, name="above", below=0.26, above=0.25),
                    check(**bound | dict(y="missing"), name="hidden", x="loss", by="S", below=9),
                    check(
                        **bound | dict(y="Sz", analysis="max_deviation"),
                        name="far",
                        x="loss",
                        by="sublattice",
                        divide="S",
                        select={"S": 8, "loss": [0, 0.3]},
                        arguments={"theory": "gaussian_Sz"},
                        below=4,
                    ),
                ]
            )
        ]
    )
    by_name = {r.name: r for r in results}
    assert by_name["right"].passed and by_name["right"].value == pytest.approx(-1)
    assert not by_name["wrong"].passed and by_name["wrong"].expect == "-0.9 ± 0.09"
    assert by_name["below"].passed and not by_name["above"].passed
    hidden = by_name["hidden (S = 2)"]
    assert not hidden.passed and "1 of 5 points are missing" in hidden.note
    # theory 1 - (1 + P/C)/8 at the first point, 0.1 measured, standard error 0.01
    P, C = 0.02, np.sqrt((0.25 - 0.02) * (2.25 - 0.02))
    assert by_name["far (sublattice a)"].value == pytest.approx((1 - (1 + P / C) / 8 - 0.1) / 0.01)
    assert not by_name["far (sublattice a)"].passed


def texts(axes):
    """The texts of its labels and of its legend."""
    return axes.get_xlabel(), axes.get_ylabel(), [text.get_text() for text in axes.get_legend().get_texts()]


def test_figures_have_symbols_and_words_in_place_of_names(plot, monkeypatch):
    from matplotlib.figure import Figure

    seen, data = [], collected()
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    v = store.Variable
    Sz, attrs = data.variables["Sz"], {"units": "ħ²", "long_name": "variance"}
    data.variables["scheme"] = v(("sublattice",), np.array(["spin_conserving", "pda"], object), {})
    data.variables["gain"] = v(("loss",), 2 * LOSSES, {"long_name": "model.gain"})
    data.variables["var_Sz"] = v(Sz.dims, Sz.values**2, attrs)
    both = {"y": ["Sz", "var_Sz"], "x": "gain", "select": {"S": 2, "sublattice": "a"}}
    panels = [
        both,
        both | {"label": ["first", "second {S:g}"]},
        both | {"label": "the {y}"},
        {"y": "var_Sz", "x": "gain", "by": "scheme", "select": {"S": 2}, "divide": "S^2"},
        {"y": "Sz", "x": "gain", "by": "scheme", "select": {"S": 2}, "label": "{scheme}"},
    ]
    data.config["figures"] = [figure(panels=panels)]
    plot([], data)
    first, second, third, fourth, fifth = map(texts, seen[0].axes)
    assert first == ("gain", "Sz", [r"$\langle S^z\rangle$", r"$(\Delta S^z)^2$"])
    assert second[2] == ["first", "second 2"] and third[2][1] == r"the $(\Delta S^z)^2$"
    assert fourth[1:] == ("variance / S²", ["scheme spin-conserving", "scheme PDA"])
    assert fifth[2] == ["spin-conserving", "PDA"]
    filled = [container.lines[0].get_markerfacecolor() != "none" for container in seen[0].axes[4].containers]
    assert filled == [True, False]  # whose points may lie on those of the first
    filled = [container.lines[0].get_markerfacecolor() != "none" for container in seen[0].axes[0].containers]
    assert filled == [True, False]
    with pytest.raises(ValidationError, match="label: one for all curves, or one for each of Sz, var_Sz"):
        figures.parse([figure(panels=[both | {"label": ["a", "b", "c"]}])])


@pytest.mark.parametrize("y, x, whole", [("eigenvalues", "eigenvalue", True), ("gap", "loss", False)])
def test_whole_numbers_have_whole_ticks(plot, monkeypatch, y, x, whole):
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: seen.append(self))
    select = {"S": 2, "loss": 0.1} if whole else {"S": 2}
    plot([panel(y=y, x=x, select=select, **({"part": "real"} if whole else {}))])
    ticks = seen[0].axes[0].get_xticks()
    assert np.array_equal(ticks, np.round(ticks)) == whole


@pytest.mark.parametrize(
    "units, divide, reduced",
    [("ħ", "S", "1"), ("ħ²", "S^2", "1"), ("ħ²", "S", "ħ²"), ("g", "g", "1"), ("g", "S", "g"), ("g", None, "g")],
)
def test_units_of_what_is_divided(units, divide, reduced):
    assert words.reduced_units(units, divide) == reduced


@pytest.mark.parametrize(
    "value, style, text",
    [
        (1048576, "", "1.05×10⁶"),
        (1048576, "g", "1.05×10⁶"),
        (1e9, "", "10⁹"),
        (-1e-05, "", "-10⁻⁵"),
        (16384, "", "16384"),
        (0.25, "", "0.25"),
        (1234567, ".6e", "1.234567×10⁶"),
        (2, ".2f", "2.00"),
    ],
)
def test_numbers_have_powers_of_ten(value, style, text):
    assert words.number(value, style) == text


def test_an_empty_file_has_frames_on_every_scale(plot, monkeypatch):
    data = collected()
    data.variables["gap"].values[:] = np.nan
    log = {"y": "gap", "xscale": "log", "yscale": "log"}
    panels = [
        log | {"x": "loss", "by": "S", "vlines": [0.2], "overlays": [{"fit": "power_law"}]},
        log | {"x": "S", "by": "loss", "reduce": "minimum"},
        {"kind": "map", "y": "gap", "x": "loss", "z": "S"},
    ]
    data.config["figures"] = [figure(panels=panels)]
    files, _ = plot([], data)
    assert [f.name for f in files] == ["figure.png", "figure.pdf"]


def test_sigmas_count_the_error_of_the_estimate(plot):
    value = dict(y="Sz", analysis="value", select={"S": 2, "loss": 0.1, "sublattice": "a"}, within=None)
    _, results = plot([figure(checks=[check(**value, expect=x, sigmas=2) for x in (0.23, 0.25)])])
    assert [r.passed for r in results] == [True, False]  # 0.2 ± 0.02
    assert results[0].error == pytest.approx(0.02)


def test_expected_value_from_theory(plot):
    boundary = dict(expect="upper_boundary", within=1)
    _, results = plot([figure(checks=[check(**boundary, select={"S": 2, "loss": 0.5})])])
    assert results[0].expect == "2.25 ± 1"
    where = "figure figure, check 'a statement': expect = upper_boundary is not one number"
    with pytest.raises(store.StoreError, match=where):
        plot([figure(checks=[check(**boundary, x="loss", select={"S": 2})])])


def test_figures_of_another_config_are_drawn_instead(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "load", lambda path: collected([figure(file="old")]))
    files, _ = figures.plot(tmp_path / "data.h5", section=[figure(file="new")])
    assert [f.name for f in files] == ["new.png", "new.pdf"]
    assert all(f.parent == tmp_path and f.is_file() for f in files)


def test_a_wrong_name_says_where(plot):
    where = "figure figure, panel 0: y = gapp: no such variable"
    with pytest.raises(store.StoreError, match=where) as caught:
        plot([figure(panels=[{"y": "gapp", "x": "loss"}])])
    assert caught.value.status == 2


def test_table_is_aligned_and_counts():
    result = figures.CheckResult
    text = figures.table(
        [
            result("exponent", -0.98, 0.01, "-1 ± 0.05", True, "4 points"),
            result("a long nameΓ̄", float("nan"), float("nan"), "< 4", False, "missing"),
        ]
    )
    lines = text.splitlines()
    assert lines[-1] == "1 of 2 checks passed"
    assert lines[2].startswith("pass  exponent      -0.98 ± 0.01")
    assert lines[2].index("4 points") == lines[0].index("note") == lines[3].index("missing") - 1  # Γ̄ is two
    assert figures.table([]) == "no checks"


def test_points_that_no_run_has_are_left_out():
    """Run files of different sweeps become one; a point that is still to be computed is missing all the same."""
    data = collected()
    asked = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], float)
    data.variables["records_total"] = store.Variable(("S", "loss"), asked, {})
    for name in "gap", "Sz":
        data.variables[name].values[asked == 0] = np.nan
    several = curves(data, Data(y="gap", x="loss", by="S"))
    assert [(curve.known["S"], len(curve.x), len(curve.known["gain"])) for curve in several] == [(4, 3, 3), (8, 5, 5)]
    (reduced,) = curves(data, Data(y="gap", x="loss", by="S", reduce="maximum"))
    assert np.allclose(reduced.y, [0.3 / 4, 0.5 / 8])
    (below,) = curves(data, Data(y="Sz", x="loss", select={"S": 4, "sublattice": "b"}))
    assert np.allclose(below.y, -4 * LOSSES[:3])
    with pytest.raises(ValueError, match="no run has any of these points"):
        curves(data, Data(y="gap", x="loss", select={"S": 2}))
    data.variables["records_total"].values[:] = 1
    assert [np.sum(np.isnan(curve.y)) for curve in curves(data, Data(y="gap", x="loss", by="S"))] == [5, 2, 0]


def test_crossings_are_looked_for_where_both_curves_have_points():
    data, x = collected(), LOSSES - 0.27
    data.variables["gap"].values[:] = np.outer(SPINS, x)
    asked = np.ones((3, 5))
    asked[1, 0] = asked[2, 4] = 0
    data.variables["records_total"] = store.Variable(("S", "loss"), asked, {})
    (reduced,) = curves(data, Data(y="gap", x="loss", by="S", reduce="crossing"))
    assert np.allclose(reduced.y, 0.27)


def test_curves_are_reduced_to_estimates():
    """Sz = ±S loss with the error 0.01 S, gap = loss / S; a curve with holes, or none that allows it, has NaN."""
    data = collected()
    (level,) = curves(
        data, Data(y="Sz", x="loss", by="S", select={"sublattice": "a"}, reduce="crossing", using={"level": 1})
    )
    assert np.isnan(level.y[0]) and np.allclose(level.y[1:], [0.25, 0.125])
    assert np.allclose(level.error[1:], 0.01)
    (power,) = curves(data, Data(y="gap", x="loss", by="S", reduce="power_law", divide="S^-1"))
    assert np.allclose(power.y, 1) and np.allclose(power.x, SPINS) and np.all(power.error < 1e-12)
    (rate,) = curves(data, Data(y="missing", x="S", by="loss", reduce="decay_rate"))
    assert np.isnan(rate.y[-1]) and np.all(rate.y[:-1] > 0)
    with pytest.raises(ValidationError, match="using has arguments of reduce"):
        Data(y="gap", x="loss", by="S", reduce="maximum_at", using={"level": 1})
    with pytest.raises(ValidationError, match="power_law has no argument 'level'"):
        Data(y="gap", x="loss", by="S", reduce="power_law", using={"level": 1})


LABELS = {
    "attribute": "{S.__class__}",
    "item": "{S[0]}",
    "conversion": "{S!r}",
    "width": "{S:>1000000000}",
    "precision": "{S:.1000000000f}",
    "nested": "{S:{S}}",
    "position": "{}",
}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_labels_take_numbers_and_nothing_else(label):
    with pytest.raises(ValidationError, match="is no value here"):
        figures.parse([figure(panels=[{"y": "gap", "x": "S", "label": label}])])


@pytest.mark.parametrize("key", ["title", "xlabel", "ylabel", "label"])
def test_long_texts_are_refused_before_anything_runs(key):
    with pytest.raises(ValidationError, match="at most 300 characters"):
        figures.parse([panel(**{key: "x" * 10**5})])


@pytest.mark.parametrize("file", ["../x", "/tmp/x", "..", "a/b", "", "x" * 300, "a\n", "~"])
def test_a_figure_stays_in_its_folder(file):
    with pytest.raises(ValidationError):
        figures.parse([figure(file=file)])


@pytest.mark.parametrize(
    "title",
    [
        r"$\foo$",
        "$x^^2$",
        "$" + "{" * 100 + "x" + "}" * 100 + "$",
        r"$a\hspace{99999999}b$",
        r"$\hspace{-99999999}a\hspace{99999999}b$",
    ],
)
def test_a_text_that_cannot_be_typeset_is_named(plot, tmp_path, title):
    with pytest.raises(store.StoreError, match="figure figure: the text ") as caught:
        plot([panel(title=title, by="loss")])
    assert caught.value.status == 2 and repr(title)[:10] in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


def test_a_matplotlibrc_beside_the_run_has_no_say(plot, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    monkeypatch.setitem(matplotlib.rcParams, "text.latex.preamble", r"\input{/etc/passwd}")
    files, _ = plot([panel(title="$x$", by="loss")])
    assert all(file.stat().st_size > 1000 for file in files)
    assert matplotlib.rcParams["text.usetex"]


def test_places_that_cannot_be_written_to_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "load", lambda path: collected([panel(by="loss")]))
    (tmp_path / "file").write_text("kept")
    for to in (tmp_path / "file", tmp_path / "file" / "below", "/proc/figures"):
        with pytest.raises(store.StoreError, match=str(to)):
            figures.plot(tmp_path / "data.h5", to)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_disk_leaves_the_old_figure_and_no_half_of_a_new_one(plot, tmp_path, monkeypatch):
    files, _ = plot([panel(by="loss")])
    before = {file: file.read_bytes() for file in files}

    def fail(fd, content, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.whole, "write_at", fail)
    with pytest.raises(store.StoreError, match=r"figure\.png: cannot be written .*No space left"):
        plot([panel(title="new", by="loss")])
    assert {file: file.read_bytes() for file in sorted((tmp_path / "out").iterdir(), reverse=True)} == before


def test_a_link_is_replaced_and_not_followed(plot, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "out" / "figure.png").symlink_to(tmp_path / "elsewhere")
    plot([panel(by="loss")])
    assert (tmp_path / "elsewhere").read_text() == "kept" and not (tmp_path / "out" / "figure.png").is_symlink()


def test_more_columns_than_panels_are_no_larger_figure(plot):
    def size(columns):
        files, _ = plot([panel(by="loss") | {"columns": columns}])
        (image,) = (path for path in files if path.suffix == ".png")
        return image.read_bytes()[16:24]  # width and height

    assert size(10**9) == size(1)


def test_markers_that_would_hide_those_of_an_earlier_curve_are_hollow():
    x, panel = np.arange(1.0, 10), SimpleNamespace(xscale="linear", yscale="log")
    several = [(x, x / 9), (1.01 * x, x / 9), (9.5 / x, x / 9), (x, None)]
    several = [SimpleNamespace(x=x, y=y, error=error) for y, error in several]
    assert [_covers(several, panel, i) for i in range(4)] == [False, True, False, False]


def test_a_file_without_figures_says_how_to_get_one(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(figures, "plot", lambda *_: ([], []))
    assert cli.main(["plot", str(tmp_path / "c.h5")]) == 0
    assert "has no figures" in caplog.text and "--config FIGURES.yaml" in caplog.text
