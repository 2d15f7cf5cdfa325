"""The notebooks run as they are, from top to bottom."""

import json
import sys

import pytest
from conftest import ROOT, require_module

DOCS = ROOT / "jobs" / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))
sys.path.insert(0, str(DOCS))
notebook = __import__("notebook")


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
    figures = [figure for *_, drawn in notebook.run(path) for figure in drawn]
    assert figures or path.stem == "model_against_qutip"
