"""run.device: gpu, under numba's simulator of a GPU, in a process of its own: the same trajectories as on the CPU."""

import os
import subprocess
import sys

import pytest

from hpcsim import cli

RUN = """
title: both
model: {{name: {model}}}
method: {{name: phase_space, task: evolve, times: [0, 0.05, 0.1], dt: 0.05, batch: 3, trajectories: 6,
         initial: [0.4, 0.3], observables: [squeezing, Sx_0], integrator: {integrator}}}
run: {{device: {device}}}
"""
CHAIN = "gain_loss_lattice, cells: 2, S: 3, g: 1.0, h: 0.4, gain: 0.7, loss: 0.9"
UNEQUAL = "spin_network, sites: 3, S: 2, Jx: 1.0, Jy: 0.5, Jz: -0.7, field_z: [0.3, -0.2, 0.9], decay: 0.4"


def collected(tmp_path, device, model, integrator):
    """The collected file of a run on a device."""
    config, name = tmp_path / f"{device}.yaml", tmp_path / device
    config.write_text(RUN.format(device=device, model=model, integrator=integrator))
    run = ["run", str(config), "--out", f"{name}.h5"]
    if device == "gpu":
        environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
        command = [sys.executable, "-m", "hpcsim", *run]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        assert cli.main(run) == 0
    assert cli.main(["collect", f"{name}.collected.h5", f"{name}.h5"]) == 0
    return f"{name}.collected.h5"


@pytest.mark.parametrize("model, integrator", [(CHAIN, "eo"), (CHAIN, "sib"), (UNEQUAL, "auto")])
def test_a_run_on_a_gpu_has_the_numbers_of_the_cpu(tmp_path, model, integrator):
    xarray = pytest.importorskip("xarray")
    here, there = (
        xarray.open_dataset(collected(tmp_path, device, model, integrator), engine="h5netcdf")
        for device in ("cpu", "gpu")
    )
    assert abs(here.Sz.isel(time=-1) - here.Sz.isel(time=0)).max() > 0.03
    for name in here.data_vars:
        xarray.testing.assert_allclose(here[name], there[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "change, words",
    [
        (["method={name: liouvillian}"], ["run.device = gpu", "liouvillian computes on cpu"]),
        (["method.scheme=pda"], ["run.device = gpu", "scheme: spin_conserving"]),
        (["method.integrator=sib"], ["run.device = gpu", "numba-cuda"]),
    ],
)
def test_what_a_gpu_cannot_do_is_told(tmp_path, capfd, monkeypatch, change, words):
    from hpcsim.methods.phase_space import device

    monkeypatch.setattr(device.cuda, "is_available", lambda: False)
    path = tmp_path / "gpu.yaml"
    text = RUN.format(device="gpu", model=CHAIN, integrator="auto")
    if change[0].startswith("method={"):
        text = text[: text.index("method")] + "method: {name: liouvillian}\nrun: {device: gpu}\n"
        change = []
    path.write_text(text)
    sets = [word for each in change for word in ("--set", each)]
    assert cli.main(["run", str(path), "--out", str(tmp_path / "gpu.h5"), *sets]) in (1, 2)
    error = capfd.readouterr().err
    for word in words:
        assert word in error
    assert "Traceback" not in error
