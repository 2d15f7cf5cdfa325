"""The README's config, commands and Python, as a reader would type them."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, mpi_environment, mpirun, require_module

README = (ROOT / "README.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.S)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """After the commands under the config, the run with --quick."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "gap.yaml").write_text(block("yaml"))
    return folder


def hpcsim(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "hpcsim", *arguments], cwd=folder, env=mpi_environment(), capture_output=True, text=True
    )


def test_the_commands_in_their_order(folder, monkeypatch):
    commands = re.findall(r"^    (?:mpirun -n 2 )?hpcsim (.*?)(?: +#.*)?$", README, re.M)
    assert [c.split()[0] for c in commands] == ["check", "run", "status", "collect", "plot"]
    for command in commands:
        if command.startswith("run"):
            done = mpirun(2, ["-m", "hpcsim", *command.split(), "--quick"], cwd=folder)
        else:
            done = hpcsim(folder, *command.split())
        assert done.returncode == 0, done.stderr
    assert (folder / "gap.png").exists()
    require_module("xarray")
    matplotlib = require_module("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(folder)
    space = {}
    exec(block("python"), space)
    data = space["data"]
    assert data.gap.attrs["units"] == "g" and data.gap.dims == ("S", "gain") and "loss" in data.coords
    assert (data.gap > 0).all() and "gain_loss_lattice" in data.attrs["config"]


def test_the_error_it_shows(folder):
    typed, shown = re.search(r"\$ hpcsim (check gap.yaml.*)\n    (hpcsim: error: .*)\n", README).groups()
    done = hpcsim(folder, *typed.split())
    assert done.returncode == 2 and done.stderr.strip() == shown


def test_every_file_it_names_exists():
    for name in re.findall(r"`?\b((?:jobs|configs|hpcsim|tests)/[\w./-]*\w)", README):
        if "NAME" not in name:
            assert (ROOT / name).exists(), name
