"""The README's config, commands and Python, as a reader would type them."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, mpi_environment, mpirun, require_module

from hpcsim import cli, features, guide

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
    assert [c.split()[0] for c in commands] == ["check", "run", "status", "collect", "plot", "report", "export"]
    for command in commands:
        if command.startswith("run"):
            done = mpirun(2, ["-m", "hpcsim", *command.split(), "--quick"], cwd=folder)
        else:
            done = hpcsim(folder, *command.split())
        assert done.returncode == 0, done.stderr
    assert all((folder / f"gap.{end}").exists() for end in ("png", "collected.html", "collected.gap.csv"))
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


def test_the_observables_are_those_of_a_run_that_xarray_opens(tmp_path, capsys):
    """Four spins in a ring, every item of the list, by the commands."""
    (listed,) = re.findall(r"```yaml\n(method:.*?)```", README, re.S)
    ring = "{name: spin_network, sites: 4, periodic: true, resolve: false, Jx: 1, Jy: 0.3, field_z: 0.2, decay: 1}"
    (tmp_path / "o.yaml").write_text(f"model: {ring}\n{listed}")
    out = str(tmp_path / "o.h5")
    assert cli.main(["run", str(tmp_path / "o.yaml"), "--out", out]) == 0, capsys.readouterr().err
    assert cli.main(["collect", str(tmp_path / "c.h5"), out]) == 0, capsys.readouterr().err
    with require_module("xarray").open_dataset(tmp_path / "c.h5", engine="h5netcdf") as data:
        assert np.isclose(np.trace(data.rho01.values), 1) and data.rho01.dtype == complex
        assert list(data.rho01_row.values) == ["0.5 0.5", "0.5 -0.5", "-0.5 0.5", "-0.5 -0.5"]
        assert np.isclose(data.staggered, 0, atol=1e-9) and data.edge.dtype == complex
        assert np.isclose(data.correlation_xx.sel(distance=0), 0.25) and data.squeezing.dims == ()
        assert "Sx_orbit" not in data and "orbit" not in data.dims


def test_the_table_of_features_is_what_the_methods_say():
    table = features.markdown(features.table(guide.modules("methods"))).split("\n\n")[0]
    assert re.sub(r" \(\d+\)", "", table) in README


def test_the_config_with_further_terms_is_one(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(re.findall(r"```yaml\n(model:.*?)```", README, re.S)[-1] + "method: liouvillian\n")
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0
    assert cli.main(["list", "features"]) == 0
    assert "1. `permutation`: the coupling Sx Sy" in capsys.readouterr().out


def test_the_schedule_is_one(tmp_path, capsys):
    (schedule,) = re.findall(r"```yaml\n(schedule:.*?)```", README, re.S)
    model = "model: {name: spin_network, sites: 2}\n"
    method = "method: {name: mean_field, task: evolve, times: [0, 12], initial: [0, 0]}\n"
    (tmp_path / "s.yaml").write_text(model + method + schedule)
    assert cli.main(["check", str(tmp_path / "s.yaml")]) == 0, capsys.readouterr().err
    assert "model.gain, model.field_x, model.decay" in capsys.readouterr().out
