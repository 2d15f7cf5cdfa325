"""Homodyne and heterodyne unravellings: their step against exact maps, averages and currents against Liouvillians."""

import numpy as np
import pytest
import reference
from runs import collected, command, run, shortened, write
from scipy.linalg import expm
from test_jump_records import MODELS
from test_two_times import ATOM, DECAY, LIGHT

import hpcsim
from hpcsim import store
from hpcsim.methods.trajectories import diffusion
from hpcsim.models import all_to_all_xyz, spin_network

BY = ("homodyne", "heterodyne")
SYSTEMS = {
    "unequal": spin_network.build(
        spin_network.Params(sites=2, convention="standard", field_x=[0.7, -0.4], Jz=0.9, decay=[1, 0.6], dephasing=0.3)
    ),
    "collective": all_to_all_xyz.build(
        all_to_all_xyz.Params(N=2, Jx=0.6, Jy=1.4, Jz=1, collective_decay=0.8, decay=0.3, field=0.5)
    ),
}


def average_map(system, h, **options):
    """(D², D²) ρ -> Σ p G ρ G† of one step, on row-stacked ρ, from what the kernels make of every basis state."""
    walk, D = diffusion.Diffuser(system, options["heterodyne"], options["phase"], None), round(system.dimension)
    states, vectors = walk._scratch
    whole, steps, columns = np.eye(D * D, dtype=complex), range(len(walk.noises.channel)), np.eye(D, dtype=complex)

    def operator(act):
        return np.array([act(column.copy()) for column in columns]).T

    def turned(psi):
        diffusion.unitary(psi, h / 2, 1e-12, walk.generator, states)
        return psi

    def expanded(psi, noise, xi):
        diffusion.expand(psi, h / 2, noise, walk.noises, vectors)
        return vectors[1] + xi * vectors[2] + xi**2 * vectors[3]

    half = operator(turned)
    whole = np.kron(half, half.conj())
    for noise in (*steps, *reversed(steps)):
        found = [(p, operator(lambda psi, k=noise, x=xi: expanded(psi, k, x))) for p, xi in POINTS]
        whole = sum(p * np.kron(G, G.conj()) for p, G in found) @ whole
    return np.kron(half, half.conj()) @ whole


POINTS = ((2 / 3, 0.0), (1 / 6, np.sqrt(3)), (1 / 6, -np.sqrt(3)))


@pytest.mark.parametrize("heterodyne", [False, True])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_error_of_averages_is_of_second_order_in_the_step(name, heterodyne):
    """Half the step, a quarter of the error, of the map of all states in a time 1; the trace is kept as well."""
    system, errors = SYSTEMS[name], []
    exact = expm(reference.liouvillian(system))
    for count in (8, 16):
        step = average_map(system, 1 / count, heterodyne=heterodyne, phase=0.3)
        errors.append(np.abs(np.linalg.matrix_power(step, count) - exact).max())
    assert 3.4 < errors[0] / errors[1] < 4.8 and errors[1] < 0.02
    count, D = int(np.ceil(1 / diffusion.step_of(system))), round(system.dimension)
    whole = np.linalg.matrix_power(average_map(system, 1 / count, heterodyne=heterodyne, phase=0.3), count)
    difference = ((whole - exact) @ np.full(D * D, 1 / D)).reshape(D, D)
    assert np.abs(np.linalg.eigvalsh(difference)).sum() / 2 < 3e-4  # of the default step, as a trace distance


def test_the_operator_that_is_drawn_is_one_of_the_three_with_its_probability():
    system, rng = SYSTEMS["unequal"], np.random.default_rng(3)
    walk = diffusion.Diffuser(system, True, 0.2, 0.1)
    vectors, psi = walk._scratch[1], rng.normal(size=4) + 1j * rng.normal(size=4)
    psi /= np.linalg.norm(psi)
    diffusion.expand(psi, 0.1, 3, walk.noises, vectors)
    states = {xi: vectors[1] + xi * vectors[2] + xi**2 * vectors[3] for _, xi in POINTS}
    weight = {xi: p * np.linalg.norm(states[xi]) ** 2 for p, xi in POINTS}
    order = sorted(weight)
    assert sum(weight.values()) == pytest.approx(1, abs=1e-3)
    bounds = np.cumsum([weight[xi] for xi in order]) / sum(weight.values())
    for xi, upper, lower in zip(order, bounds, (0, *bounds)):
        for random in (lower + 1e-9, upper - 1e-9):
            after = psi.copy()
            assert diffusion.diffuse(after, 0.1, 3, walk.noises, vectors, random) == xi
            assert np.allclose(after, states[xi] / np.linalg.norm(states[xi]), atol=1e-13)


@pytest.mark.parametrize("unravelling", BY)
def test_averages_are_those_of_the_liouvillian(unravelling, tmp_path):
    """In time, within four standard errors; a factor 2 is not."""
    sections = {"model": MODELS["no symmetry"], "sweep": [], "figures": []}
    own = {"task": "evolve", "times": [0.4, 1.5], "initial": [0.2, 0.3], "observables": ["Sx_0_Sy_2"]}
    sampled = {"name": "trajectories", "unravelling": unravelling, "phase": 0.2, "step": 0.06, "trajectories": 256}
    path = run(tmp_path / "t.h5", method=own | sampled, **sections)
    found = hpcsim.open(collected(path))
    exact = hpcsim.open(collected(run(tmp_path / "l.h5", method=own | {"name": "liouvillian"}, **sections)))
    for key in ("Sx", "Sy", "Sz", "var_Sz", "Sx_0_Sy_2"):
        wanted, error = exact[key].values, 4 * found[f"{key}_stderr"].values
        assert np.all(abs(found[key].values - wanted) < error + 2e-3) and np.all(error < 0.14), key
    assert np.any(abs(2 * found.Sz.values - exact.Sz.values) > 4 * found.Sz_stderr.values + 2e-3)
    assert "jumps" not in found
    again = shortened(path, without=[1, 5])
    assert command("run", path.with_suffix(".yaml"), "--out", again) == 0
    (whole,), (resumed,) = store.read_runs(path), store.read_runs(again)
    assert all(np.array_equal(whole.arrays[name], resumed.arrays[name]) for name in whole.arrays) and resumed.done.all()


def exact_current(system, c):
    """Mean ⟨X⟩ and noise 1 + 2 ∫_0^∞ Tr X exp(Lτ)(cρ + ρc† - ⟨X⟩ρ) dτ, X = c + c†, of dense matrices."""
    L, rho = reference.liouvillian(system), reference.steady_state(system)
    X = c + c.conj().T
    mean = np.trace(X @ rho).real
    moved = c @ rho + rho @ c.conj().T - mean * rho
    deflated = L - np.outer(rho.ravel(), np.eye(len(rho)).ravel())
    return mean, 1 - 2 * np.trace(X @ np.linalg.solve(deflated, moved.ravel()).reshape(rho.shape)).real


@pytest.mark.parametrize("unravelling", BY)
def test_a_current_and_its_noise_are_those_of_dense_matrices(unravelling, tmp_path):
    """Of c = √γ e^{-iφ} σ-; by heterodyne detection, of c/√2 and of -ic/√2."""
    model, phase = ATOM | {"field_x": 0.6, "field_y": 0.5, "field_z": 0.3}, 0.3
    method = {"name": "trajectories", "task": "counting", "channels": [{"name": "current", "jumps": "S-"}]}
    method |= {"unravelling": unravelling, "phase": phase, "trajectories": 64, "burn_in": 15, "duration": 160}
    path = run(tmp_path / "c.h5", method=method | {"step": 0.15, "sample_every": 10}, model=model, sweep=[], figures=[])
    found = hpcsim.open(collected(path))
    system = spin_network.build(spin_network.Params(**{key: value for key, value in model.items() if key != "name"}))
    c = np.sqrt(DECAY) * np.exp(-1j * np.pi * phase) * reference.on_site(system, "S-", 0)
    parts = {"current": c} if unravelling == "homodyne" else {"current": c / 2**0.5, "current_other": -1j * c / 2**0.5}
    for name, part in parts.items():
        mean, noise = exact_current(system, part)
        error, of_noise = found[f"{name}_stderr"].item(), found[f"{name}_variance_stderr"].item()
        assert abs(found[name] - mean) < 4 * error < 0.4 * abs(mean), (name, found[name].item(), mean, error)
        assert abs(found[f"{name}_variance"] - noise) < 4 * of_noise < 0.6 * noise, (name, noise, of_noise)
    assert found.current.attrs["units"] == "1" and "current_fano" not in found


def test_conditional_states_are_pure(tmp_path):
    """One spin keeps ⟨S⟩² = 1/4 along a trajectory."""
    method = {"name": "trajectories", "task": "evolve", "trajectories": 2, "batch": 1, "times": [0.3, 2.0]}
    sections = {"sweep": [], "figures": []}
    path = run(tmp_path / "one.h5", method=method | {"unravelling": "homodyne"}, model=ATOM, **sections)
    (data,) = store.read_runs(path)
    assert np.allclose(sum(data.arrays[f"S{a}"] ** 2 for a in "xyz"), 0.25, atol=1e-12)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"phase": 0.5}, "phase belongs to unravelling: homodyne and heterodyne, not to jumps"),
        ({"step": 0.5}, "step belongs to unravelling"),
        ({"unravelling": "homodyne", "distribute": True}, "distribute = true belongs to unravelling: jumps"),
        ({"unravelling": "homodyn"}, "homodyn"),
        (
            {"unravelling": "homodyne", "task": "correlation", "times": [1], "functions": [LIGHT]},
            "task = correlation belongs to unravelling: jumps",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_message(keys, message, tmp_path, capsys):
    write(tmp_path / "c.yaml", model=ATOM, method={"name": "trajectories"} | keys, sweep=[], figures=[])
    assert command("check", tmp_path / "c.yaml") == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
