"""The discrete truncated Wigner approximation: against the closed form of Ising models, and exact numbers."""

import numpy as np
import pytest
from runs import collected, command, run, shortened, write

import hpcsim
from hpcsim import store
from hpcsim.methods.phase_space import initial

EDGES = [[0, 1, 1.3], [0, 2, -0.7], [1, 3, 0.9], [2, 3, 1.8], [0, 4, 0.5], [3, 4, -1.1]]
SPINS = {"name": "spin_network", "convention": "standard", "sites": 5, "edges": EDGES, "resolve": True}
METHOD = {"name": "phase_space", "task": "evolve", "sampling": "discrete", "dt": 0.05, "trajectories": 2048}
TIMES = [0.5, 1.0, 2.0, 4.0]


def test_ising_spins_dephase_as_in_the_closed_form(tmp_path):
    """⟨Sx_i⟩ = ½ exp(-γt/2) Π_j cos(J_ij t/2) from spins along x (Foss-Feig et al., Phys. Rev. A 87, 042101 (2013)), at
    all times; samples of a sphere are off."""
    model, gamma = SPINS | {"Jz": 1.0, "dephasing": 0.2}, 0.2
    path = run(tmp_path / "d.h5", model=model, method=METHOD | {"times": TIMES}, sweep=[], figures=[])
    found = hpcsim.open(collected(path))
    sphere = hpcsim.solve(model, METHOD | {"times": TIMES, "sampling": "fock"})
    wanted = np.full((5, 4), 0.5) * np.exp(-gamma * np.array(TIMES) / 2)
    for i, j, J in EDGES:
        wanted[[i, j]] *= np.cos(J * np.array(TIMES) / 2)
    error = 4 * found.Sx_stderr.values
    assert np.all(abs(found.Sx.values - wanted) < error) and np.all(error < 0.06)
    assert np.any(abs(sphere.Sx.values - wanted) > error + 4 * sphere.Sx_stderr.values)
    assert np.allclose(found.spin_length, np.sqrt(0.75)) and found.truncation < 0.05
    again = shortened(path, without=[2])
    assert command("run", path.with_suffix(".yaml"), "--out", again) == 0
    (whole,), (resumed,) = store.read_runs(path), store.read_runs(again)
    assert all(np.array_equal(whole.arrays[name], resumed.arrays[name]) for name in whole.arrays) and resumed.done.all()


def test_spins_without_couplings_decay_as_the_master_equation_says(tmp_path):
    """Decay, gain and dephasing with unequal rates: exact means at all times, in long steps; driven atoms at rest."""
    model = SPINS | {
        "decay": [0.3, 0.9, 0, 0.5, 0.2],
        "gain": [0, 0.4, 0.6, 0.5, 0],
        "dephasing": [0.3, 0, 0.1, 0, 0.5],
    }
    own = {"times": [0.5, 1.0, 2.0, 5.0], "initial": [0.3, 0.2]}
    method = METHOD | own | {"dt": 0.5}
    found = hpcsim.open(collected(run(tmp_path / "d.h5", model=model, method=method, sweep=[], figures=[])))
    decay, gain, dephasing = (np.array(model[key])[:, None] for key in ("decay", "gain", "dephasing"))
    times, rate, rest = np.array(own["times"]), decay + gain, (gain - decay) / (decay + gain) / 2
    polar, azimuth = 0.3 * np.pi, 0.2 * np.pi
    wanted = {"Sz": rest + (np.cos(polar) / 2 - rest) * np.exp(-rate * times)}
    turning = np.sin(polar) / 2 * np.exp(-(rate + dephasing) * times / 2)
    wanted |= {"Sx": np.cos(azimuth) * turning, "Sy": np.sin(azimuth) * turning}
    for name, value in wanted.items():
        error = 4 * found[f"{name}_stderr"].values
        assert np.all(abs(found[name].values - value) < error + 1e-12) and np.all(error < 0.075), name
    assert np.allclose(found.spin_length, np.sqrt(0.75)) and found.truncation < 0.05
    model = SPINS | {"decay": [0.3, 0.9, 0.7, 0.5, 0.6], "field_x": [0.4, 1.0, 0.3, 0.2, 0.5]}
    steady = {"task": "steady_state", "trajectories": 64, "burn_in": 20, "duration": 50}
    found, rabi, rate = hpcsim.solve(model, METHOD | steady), np.array(model["field_x"]), np.array(model["decay"])
    down = -(rate**2) / (rate**2 + 2 * rabi**2) / 2  # of resonance fluorescence
    for name, value in {"Sz": down, "Sy": rate * (down + 0.5) / rabi}.items():
        error = 4 * found[f"{name}_stderr"].values
        assert np.all(abs(found[name].values - value) < error) and np.all(error < 0.1), name


def test_decaying_xyz_spins_at_short_times(tmp_path):
    """Means, variances and correlations of sites: what is left out is a hundredth at t = 0.4, and told of."""
    model = SPINS | {"Jx": 0.9, "Jy": -0.6, "Jz": 1.2, "field_x": [0.4, -0.2, 0.7, 0.1, 0.3], "decay": 0.5}
    own = {"times": [0.2, 0.4, 3.0], "initial": [0.3, 0.2], "observables": ["Sx_0_Sy_3", "Sx_0_Sx_1"]}
    found = hpcsim.open(collected(run(tmp_path / "d.h5", model=model, method=METHOD | own, sweep=[], figures=[])))
    exact = hpcsim.solve(model, {"name": "liouvillian", "task": "evolve"} | own)
    for name in ("Sx", "Sy", "Sz", "var_Sx", "var_Sz", "Sx_0_Sy_3", "Sx_0_Sx_1"):
        difference = abs(found[name].values - exact[name].values)[..., :2]
        error = 4 * found[f"{name}_stderr"].values[..., :2]
        assert np.all(difference < error + 0.012) and np.all(error < 0.06), (name, difference, error)
    assert np.any(abs(2 * found.Sz - exact.Sz).values[..., :2] > 0.2)
    assert 0.005 < found.truncation < 0.5


def test_samples_have_all_moments_of_the_state_and_do_not_depend_on_the_batch():
    """⟨S_a⟩ and symmetrised ⟨S_a S_b⟩ of a spin 1/2 in any direction; |s|² is 3/4 in every one."""
    key, angles = np.array([1, 2], np.uint64), np.array([[[0.4], [1.1]], [[np.pi], [0.0]]])
    s = np.empty((2, 3, 40_000))
    initial.discrete(s, angles, np.uint64(0), key)
    direction = np.array([np.sin(0.4) * np.cos(1.1), np.sin(0.4) * np.sin(1.1), np.cos(0.4)])
    assert np.allclose((s**2).sum(axis=1), 0.75)
    assert np.all(abs(s[0].mean(axis=1) - direction / 2) < 4 * 0.5 / 200)
    assert np.all(abs(s[0] @ s[0].T / s.shape[2] - np.eye(3) / 4) < 4 * 0.25 / 200)
    assert np.allclose(s[1, 2], -0.5) and np.allclose(abs(s[1, :2]), 0.5)
    rest = np.empty((2, 3, 10))
    initial.discrete(rest, angles, np.uint64(7), key)
    assert np.array_equal(rest, s[..., 7:17])


@pytest.mark.parametrize(
    "model, keys, message",
    [
        ({}, {"scheme": "pda"}, "sampling = discrete: belongs to scheme: spin_conserving"),
        ({"S": 1}, {}, "sampling = discrete: is for spins 1/2"),
        ({"twist": 1}, {}, "sampling = discrete: is for spins 1/2"),
    ],
)
def test_what_does_not_fit_is_told_in_one_message(model, keys, message, tmp_path, capsys):
    method = METHOD | {"times": [1]} | keys
    write(tmp_path / "c.yaml", model=SPINS | {"Jz": 1.0} | model, method=method, sweep=[], figures=[])
    assert command("check", tmp_path / "c.yaml") == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
