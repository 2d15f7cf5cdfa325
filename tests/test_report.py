"""The report: one page that holds all that a file tells, whatever the file brings, and loads nothing."""

import html.parser
import re

import numpy as np
import pytest
from runs import CONFIG, collected, command, run, shortened

from hpcsim import figures, store
from hpcsim.report import contents, page, quality

NASTY = "<script>alert('1')</script> & \"<img src=x onerror=alert(2)>"
VOID = {"meta", "img"}


class Page(html.parser.HTMLParser):
    """Elements, attributes and visible text; fails where tags are not balanced."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts, self.scripts = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        assert len({*dict(attributes)}) == len(attributes)
        self.tags.append(name)
        self.attributes += [(name, *each) for each in attributes]
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open and self.open.pop() == name

    def handle_data(self, text):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts += [text] * (self.open[-1] == "script")
        elif text.strip():
            self.texts.append(text.strip())

    @property
    def text(self):
        return "\n".join(self.texts)


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """A collected file whose every free text is an attack, one check of two failing."""
    checks = CONFIG["figures"][0]["checks"]
    checks = [checks[0] | {"name": NASTY}, checks[0] | {"name": "impossible", "below": -9}]
    figure = CONFIG["figures"][0] | {"title": "a <b>title", "checks": checks}
    return collected(run(tmp_path_factory.mktemp("nasty") / "r.h5", title=NASTY, figures=[figure]))


def test_everything_is_on_the_page_and_nothing_of_it_is_code(nasty, capsys):
    assert command("report", nasty) == 1  # a check fails
    path = nasty.with_suffix(".html")
    assert capsys.readouterr().out.strip() == str(path)
    found = Page(path)
    assert found.scripts == [page.SCRIPT] and found.tags.count("script") == 1 and "b" not in found.tags
    assert found.texts.count(NASTY) == 3  # in <title>, <h1> and the table of checks
    assert "a <b>title" in found.texts and f"title: {NASTY}" in found.text
    for words in ("pass", "FAIL", "impossible", "1 of 2 checks passed", "1 of 2 checks failed", "3 records", "r.h5"):
        assert words in found.texts or words in found.text, words
    for words in ("model gain_loss_lattice, method gaussian", "relaxation_rate", "Provenance", "Timings", "numpy "):
        assert words in found.text, words
    assert found.texts.count("r.h5") == 2  # of the run files, and of the sessions
    assert not [each for each in found.attributes if each[1].startswith("on")]


def test_the_page_loads_nothing(nasty):
    command("report", nasty)
    text = nasty.with_suffix(".html").read_text()
    found = Page(nasty.with_suffix(".html"))
    places = [value for _, key, value in found.attributes if key in ("src", "href", "srcset", "action", "data")]
    assert len(places) == 1 and places[0].startswith("data:image/svg+xml;base64,")
    (policy,) = [value for _, key, value in found.attributes if key == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'; img-src data:;") and "'unsafe-inline'; script-src 'sha256-" in policy
    assert not re.findall(r"https?://", text.replace("http-equiv", ""))


def test_missing_and_failed_records_are_named(tmp_path):
    path = shortened(run(tmp_path / "r.h5"), {1})
    assert command("report", path, "--to", tmp_path / "page.html") == 1  # of a run file; its check lacks a point
    found = Page(tmp_path / "page.html")
    assert "2 of 3 records" in found.text and "the file holds 2 of 3 records" in found.texts
    assert "loss = 1.5" in found.texts and "Missing records" in found.texts


def test_only_reports_are_written_over(nasty, tmp_path, capsys):
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine")
    assert command("report", nasty, "--to", mine) == 2 and "is not a report" in capsys.readouterr().err
    assert mine.read_text() == "<p>mine"
    for _ in range(2):
        assert command("report", nasty, "--to", tmp_path / "new.html") == 1
    assert command("report", tmp_path / "nothing.h5") == 2 and command("report", mine) == 2


def variable(*values, dims=("S",), **attrs):
    return store.Variable(dims, np.array(values), attrs)


QUALITY = {
    "S": variable(1.0, 2.0, 4.0),
    "gap": variable(0.5, 0.25, 0.125, units="g"),
    "gap_stderr": variable(0.1, 0.3, np.nan, units="g"),
    "certified": variable(1.0, 0.0, np.nan),
    "truncation": variable(0.01, 0.05, 0.001),
    "records_done": variable(1, 1, 0),
    "records_total": variable(1, 1, 1),
    "records_failed": variable(0, 0, 1),
}


def test_what_is_not_converged_is_said_with_its_place():
    failures = '[{"model.S": 4.0, "record": 0, "reason": "singular <matrix>"}]'
    attrs = {"commit": "ab12-dirty", "failures": failures}
    data = store.Collected(QUALITY, attrs, {"method": {"name": "m"}})
    assert quality.warnings(data) == [
        "the file holds 2 of 3 records, 1 failed at model.S = 4.0",
        f"{quality.FLAGS['certified']}: certified is 0 at 1 of 3 points",
        "the truncation leaves an estimated error of up to 0.05 S",
        "computed by a checkout with changes that are not committed",
    ]
    assert quality.flags(data) == [("certified", "", "1 of 2", "S = 2")]
    assert quality.errors(data) == [("gap", "standard error", "0.3 g", "S = 2", "0.2 g")]
    assert ("truncation", "", "0.05", "S = 2") in quality.sizes(data)
    assert quality.missing(data) == [("S = 4", 0, 1, 1)]
    shown = contents.records(data)
    assert "singular &lt;matrix&gt;" in shown and "model.S = 4.0" in shown


def test_a_figure_that_the_file_cannot_fill_is_left_out_with_the_reason(monkeypatch):
    section = [{"file": "f", "panels": [{"y": "nothing", "x": "S"}]}]
    data = store.Collected(QUALITY, {}, {"model": {}, "figures": section})
    shown, checks, problems = contents.drawn(data)
    assert shown == "" and checks == [] and "y = nothing: no such variable" in problems[0]
    _, _, problems = contents.drawn(store.Collected(QUALITY, {}, {"model": {}, "figures": [{"panels": 1}]}))
    assert "not understood" in problems[0]


def test_control_characters_do_not_get_onto_the_page():
    assert page.tag("p", "a\x00\x1b[1m\ud800b", label="\x07") == '<p data-label="\ufffd">a\ufffd\ufffd[1m\ufffdb</p>'
    assert page.tag("p", page.tag("b", "<"), "<") == "<p><b>&lt;</b>&lt;</p>"


def test_checks_have_one_form_in_plot_and_report():
    result = figures.CheckResult("c", 1.23456, 0.0123, "< 2", True, "")
    assert result.measured == "1.235 ± 0.012" and result.measured in figures.table([result])
