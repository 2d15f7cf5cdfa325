"""The tutorials run as their first lines say, and their checks pass."""

from pathlib import Path

import pytest
from conftest import ROOT

import hpcsim
from hpcsim import cli

FOLDER = ROOT / "configs/tutorials"
FIRST = {"quench": "quench_steady"}  # what has to be run before


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_run_collect_and_plot(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config, collected = str(FOLDER / f"{name}.yaml"), f"{name}.collected.h5"
    for each in filter(None, (FIRST.get(name), name)):
        assert cli.main(["run", str(FOLDER / f"{each}.yaml"), "--quick"]) == 0
    runs = sorted(map(str, Path("results").glob(f"{name}.*")))  # one for each method
    assert cli.main(["collect", collected, *runs]) == 0
    assert cli.main(["plot", collected, "--config", config]) == 0, capsys.readouterr().out
    pictures = [figure["file"] for figure in hpcsim.run.config.load(config)["figures"]]
    assert all((tmp_path / f"{picture}.png").exists() and (FOLDER / f"{picture}.png").exists() for picture in pictures)
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# ")
