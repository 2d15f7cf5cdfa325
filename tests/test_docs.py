"""The notebooks run as they are, from top to bottom, and so do the commands and the Python of the manual's pages."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, require_module

import hpcsim
from hpcsim import cli, guide

DOCS = ROOT / "jobs" / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))
notebook, reference = (runpy.run_path(str(DOCS / name)) for name in ("notebook.py", "reference.py"))
PAGES = {path.stem: path.read_text() for path in DOCS.glob("*.md")}


def commands(page):
    """The arguments of every `hpcsim` line of a page."""
    return [shlex.split(line) for line in re.findall(r"^    (?:mpirun -n \d+ )?hpcsim (.*)$", PAGES[page], re.M)]


def python(page, space):
    for block in re.findall(r"```python\n(.*?)```", PAGES[page], re.S):
        exec(block, space)


def test_notebooks_are_valid_and_have_no_outputs():
    assert [path.stem for path in NOTEBOOKS] == ["cluster_to_figure", "first_look", "model_against_qutip"]
    for path in NOTEBOOKS:
        raw = json.loads(path.read_text())
        assert (raw["nbformat"], raw["nbformat_minor"]) == (4, 5)
        assert len({cell["id"] for cell in raw["cells"]}) == len(raw["cells"])
        for cell in raw["cells"]:
            assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """Its own assertions hold, and its figures can be drawn."""
    require_module("qutip")
    monkeypatch.chdir(tmp_path)
    figures = [figure for *_, drawn in notebook["run"](path) for figure in drawn]
    assert figures or path.stem == "model_against_qutip"


def test_the_first_steps_can_be_taken_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("first_steps"):
        if arguments[0] != "doctor":
            assert cli.main(arguments) == 0, (arguments, capsys.readouterr().err)
    assert hpcsim.open("sweep.h5").sizes["field_x"] == 5 and Path("other.h5").exists()
    python("first_steps", {})


def test_what_the_page_for_qutip_asserts(tmp_path, monkeypatch):
    require_module("qutip")
    python("from_qutip", {})
    for section in re.findall(r"`(\{\"name\": \"(?:liouvillian|trajectories)\".*?\})`", PAGES["from_qutip"]):
        method = yaml.safe_load(section.replace("[...]", "[0.1]"))
        assert guide.modules("methods")[method.pop("name")].Options(**method)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_and_every_file_exists(page):
    for arguments in commands(page):
        assert cli.parser().parse_args(arguments).command == arguments[0]
    for name in re.findall(r"\b((?:jobs|configs)/[\w./-]*\w)", PAGES[page]):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\((\w+)\.md\)", PAGES[page]):
        assert name in PAGES or (DOCS / f"{name}.ipynb").exists()


def test_the_reference_has_every_name(tmp_path):
    reference["write"](tmp_path)
    text = {path.stem: path.read_text() for path in tmp_path.iterdir()}
    for kind, page in (("models", "models"), ("methods", "method_options"), ("theories", "observables")):
        assert all(name in text[page] for name in guide.catalogue()[kind])
    assert "--max-walltime" in text["commands"] and "from_qutip(H, c_ops)" in text["python"]
    contents = PAGES["index"].split("{toctree}", 1)[1]
    assert all(re.search(rf"^{name}$", contents, re.M) for name in {*text, *PAGES} - {"index"})
