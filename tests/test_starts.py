"""Initial states: every kind against dense matrices, the same in all methods that hold it, refused by the others."""

from math import comb

import numpy as np
import pytest
import reference
import yaml
from runs import collected
from runs import command as hpcsim_command
from scipy.linalg import expm

import hpcsim
from hpcsim.run.config import ConfigError
from hpcsim.run.problem import Problem
from hpcsim.system import matrices, starts

MODEL = {"name": "spin_network", "convention": "standard", "sites": 3, "power": 0, "Jx": 0.7, "Jy": 0.3, "Jz": 1.0}
MODEL |= {"decay": 0.3, "field_z": 0.4, "field_x": 0.2}
TIMES = [0, 0.8]
EVOLVE = {"task": "evolve", "times": TIMES}
OTHER = {"model.field_x": 1.0, "model.Jz": -0.5}


def system_of(model):
    return Problem(model, {"name": "liouvillian"}).system


def dense(initial, model=MODEL):
    """ρ of each kind, written once more: (D, D)."""
    system, other = system_of(model), system_of(model | {"field_x": 1.0, "Jz": -0.5})
    D, H = round(system.dimension), matrices.hamiltonian(other).toarray()
    kind = starts.kind(initial)
    if kind == "mixed":
        return np.eye(D) / D
    if kind == "steady_state":
        return reference.steady_state(other)
    if kind == "thermal":
        rho = expm(-H / initial["thermal"]["temperature"])
        return rho / np.trace(rho)
    if kind == "ground_state":
        psi = np.linalg.eigh(H)[1][:, 0]
    elif kind == "dicke":  # lower the state of all spins up
        lower = sum(matrices.site_operator(system, "S-", i) for i in range(system.sites)).toarray()
        psi = np.linalg.matrix_power(lower, round(system.spins.sum() - initial["dicke"]))[:, 0]
    elif kind == "fock":
        psi = np.zeros(D)
        psi[0 if initial["fock"] > 0 else -1] = 1
    psi = psi / np.linalg.norm(psi)
    return np.outer(psi, psi.conj())


def expected(initial, model=MODEL):
    """(3, times) ⟨S⟩, the mean over the sites."""
    system, found = system_of(model), []
    rho, L = dense(initial, model), reference.liouvillian(system_of(model))
    for t in TIMES:
        now = (expm(L * t) @ rho.ravel()).reshape(rho.shape)
        sites = range(system.sites)
        found.append(
            [np.mean([(matrices.site_operator(system, f"S{a}", i) @ now).trace().real for i in sites]) for a in "xyz"]
        )
    return np.array(found).T


def spins(data):
    return np.array([data[f"S{a}"].values.squeeze() for a in "xyz"])


STARTS = ["mixed", {"fock": 0.5}, {"dicke": -0.5}, {"steady_state": OTHER}, {"ground_state": OTHER}]
STARTS += [{"thermal": {"temperature": 0.5, **OTHER}}]


@pytest.mark.parametrize("initial", STARTS, ids=starts.kind)
def test_exact_methods_start_from_every_kind_of_state(initial):
    wanted, held = expected(initial), 0
    for name in ("liouvillian", "permutation"):
        model = MODEL | ({"convention": "standard"})
        try:
            found = hpcsim.solve(model, {"name": name, "initial": initial, **EVOLVE})
        except ConfigError as error:
            assert name == "permutation" and "this method starts from the kinds direction, fock, dicke, mixed" in str(
                error
            )
            continue
        assert np.allclose(spins(found), wanted, atol=1e-8), name
        held += 1
    assert held == 1 + (starts.kind(initial) in ("mixed", "fock", "dicke", "steady_state"))


@pytest.mark.parametrize(
    "initial", ["mixed", {"dicke": -0.5}, {"thermal": {"temperature": 0.5, **OTHER}}], ids=starts.kind
)
def test_trajectories_start_from_mixtures_and_superpositions(initial):
    method = {"name": "trajectories", "initial": initial, "trajectories": 1024, "batch": 8, **EVOLVE}
    data = hpcsim.solve(MODEL, method)
    error = np.array([data[f"S{a}_stderr"].values.squeeze() for a in "xyz"])
    assert np.all(np.abs(spins(data) - expected(initial)) < 4 * error + 1e-9) and error.max() < 0.02


def test_random_directions_are_the_same_in_all_methods():
    """At t = 0, and on every site; another seed has others."""
    products = [f"S{a}_{i}" for a in "xyz" for i in range(3)]

    def start(name, seed=1, **more):
        method = {"name": name, "initial": "random", "task": "evolve", "times": [0], "observables": products, **more}
        data = hpcsim.solve(MODEL, method, run={"seed": seed})
        return np.array([data[each].values.squeeze() for each in products])

    exact = start("liouvillian")
    lengths = np.linalg.norm(exact.reshape(3, 3), axis=0)
    assert np.allclose(lengths, 0.5) and np.abs(start("liouvillian", 2) - exact).max() > 0.1
    assert np.allclose(start("trajectories", trajectories=2, batch=1), exact)
    assert np.allclose(start("mean_field"), exact) and np.allclose(start("mean_field", cluster=3), exact)
    sampled = start("phase_space", trajectories=4096, batch=512)
    assert np.abs(sampled - exact).max() < 4 * 0.5 / np.sqrt(4096) * 1.5


def test_phase_space_and_mean_field_hold_the_mixed_state():
    model = MODEL | {"S": 3}
    data = hpcsim.solve(
        model, {"name": "phase_space", "initial": "mixed", "trajectories": 4096, "batch": 512, **EVOLVE}
    )
    for a in "xyz":
        first, error = (data[f"{name}"].values[..., 0].squeeze() for name in (f"S{a}", f"S{a}_stderr"))
        assert abs(first) < 4 * error and error < 0.1
        assert abs(data[f"var_S{a}"].values.squeeze()[0] / 4 - 1) < 0.1  # S(S + 1)/3
    for cluster in (None, 3):
        found = hpcsim.solve(MODEL, {"name": "mean_field", "initial": "mixed", "cluster": cluster, **EVOLVE})
        assert np.allclose(spins(found)[:, 0], 0) and spins(found)[2, 1] < -0.05


@pytest.mark.parametrize("cluster", [None, 3])
def test_mean_field_starts_from_its_own_steady_states(cluster):
    """At t = 0 from what the task steady_state gives; a cluster of all sites from the exact one, and as that later."""
    method = {"name": "mean_field", "cluster": cluster, "starts": 1}
    other = hpcsim.solve(MODEL | {"field_x": 1.0, "Jz": -0.5}, method)
    found = spins(hpcsim.solve(MODEL, method | {"initial": {"steady_state": OTHER}} | EVOLVE))
    assert np.allclose(found[:, 0], spins(other), atol=1e-6) and abs(found[:, 1] - found[:, 0]).max() > 0.03
    if cluster:
        assert np.allclose(found, expected({"steady_state": OTHER}), atol=1e-6)
    still = spins(hpcsim.solve(MODEL, method | {"initial": {"steady_state": {}}} | EVOLVE))
    assert np.allclose(still[:, 0], still[:, 1], atol=1e-6)
    with pytest.raises(Exception, match="steady_state: with these parameters the mean field does not come to rest"):
        hpcsim.solve(MODEL, method | {"initial": {"steady_state": OTHER}, "duration": 0.01} | EVOLVE)


@pytest.mark.parametrize("N, M", [(5, -0.5), (6, 3), (40, 0)])
def test_correlators_of_dicke_states(N, M):
    """⟨σz σz⟩, ⟨σx σx⟩ and ⟨σx σx σy σy⟩ of distinct spins, from ⟨Sz²⟩, ⟨S²⟩ and the ladder."""
    from hpcsim.methods.permutation.starts import correlators
    from hpcsim.models import all_to_all_xyz

    system = all_to_all_xyz.build(all_to_all_xyz.Params(sites=N, Jx=1, Jy=1, Jz=1, decay=1))
    counts = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [2, 0, 0], [0, 2, 0], [1, 0, 1], [2, 2, 0], [4, 0, 0]])
    found = correlators(system, {"dicke": M}, counts)
    J = N / 2
    zz, xx = (4 * M**2 - N) / (N * (N - 1)), (2 * (J * (J + 1) - M**2) - N) / (N * (N - 1))
    k = round(J + M)  # <S+ S+ S- S-> of four distinct spins: (k choose 2) pairs go down, two others come up
    flip = 0.0 if min(k, N - k) < 2 else comb(N - 4, k - 2) / comb(N, k)
    assert np.allclose(found[:6], [1, 2 * M / N, zz, xx, xx, 0], atol=1e-12)
    assert np.allclose(found[6:], [2 * flip, 6 * flip], atol=1e-12)


def test_coherent_and_fock_states_of_modes():
    """The harmonic oscillator with decay: α e^(-κt/2 - iωt), n e^(-κt)."""
    model = {"name": "kerr_oscillator", "detuning": -1.0, "U": 0, "F": 0, "decay": 0.1, "cutoff": 24}
    x, n = {"name": "position", "product": [["x", 0]]}, "n"
    for name in ("liouvillian", "trajectories"):
        more = {"trajectories": 512, "batch": 8} if name == "trajectories" else {}
        method = {"name": name, "observables": [x, n], **EVOLVE, **more}
        data = hpcsim.solve(model, method | {"initial": {"alpha": [1.2, 0.5]}})
        wanted = [2 * ((1.2 + 0.5j) * np.exp((-0.1 - 1j) * t)).real for t in TIMES]
        assert np.allclose(data.position.values.squeeze(), wanted, atol=1e-4), name  # a coherent state stays one
        fock = hpcsim.solve(model, method | {"initial": {"fock": 3}})["n"].values.squeeze()
        assert np.allclose(fock, 3 * np.exp(-0.2 * np.array(TIMES)), atol=1e-6 if name == "liouvillian" else 0.15), name


def test_the_command_gives_the_same_bits(tmp_path):
    config, run = tmp_path / "c.yaml", tmp_path / "r.h5"
    method = {"name": "trajectories", "initial": "mixed", "trajectories": 6, "batch": 3, **EVOLVE}
    config.write_text(yaml.safe_dump({"model": MODEL, "method": method}))
    assert hpcsim_command("check", config) == hpcsim_command("run", config, "--out", run) == 0
    assert np.array_equal(spins(hpcsim.open(collected(run))), spins(hpcsim.solve(MODEL, method)))


@pytest.mark.parametrize(
    "initial, words",
    [
        ({"fock": 1}, "1 is no level of site 0, which has Sz = -0.5, 0.5"),
        ({"fock": {"b": 0.5}}, "one for each of the sublattices all"),
        ({"fock": "up"}, "fock = 'up': a number is needed"),
        ({"dicke": 0}, "the total Sz is one of -1.5, -0.5, ..., 1.5"),
        ({"alpha": [1, 0]}, "it is of boson modes, and the system has spins"),
        ({"alpha": 1}, "write [Re α, Im α]"),
        ({"fock": 0.5, "dicke": 0.5}, "write a direction [polar, azimuth], or one of"),
        ("up", "write a direction [polar, azimuth], or one of"),
        ({"thermal": {}}, "thermal.temperature = None: a positive number is needed"),
        ({"thermal": {"temperature": 1, "gain": 3}}, "method.initial.thermal.gain: write model.KEY"),
        ({"thermal": 3}, "method.initial.thermal = 3: write {model.KEY: value"),
        ({"ground_state": {"model.sites": 2}}, "changes the sites of the system"),
    ],
)
def test_a_start_that_does_not_fit_is_one_message(initial, words):
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(MODEL, {"name": "liouvillian", "initial": initial, **EVOLVE})
    assert words in str(error.value) and "\n" not in str(error.value), error.value


def test_what_the_cutoff_loses_and_negative_wigner_functions_are_refused():
    mode = {"name": "kerr_oscillator", "detuning": 1, "U": 0, "F": 0, "cutoff": 4}
    with pytest.raises(ConfigError, match="beyond the cutoff 4; raise model.cutoff"):
        hpcsim.solve(mode, {"name": "liouvillian", "initial": {"alpha": [2, 0]}, **EVOLVE})
    with pytest.raises(ConfigError, match="phase_space samples the levels Sz = S and -S"):
        hpcsim.solve(MODEL | {"S": 1}, {"name": "phase_space", "initial": {"fock": 0}, **EVOLVE})


def test_a_degenerate_ground_state_ends_the_record_with_its_reason():
    ising = MODEL | {"Jx": 0, "Jy": 0, "field_x": 0, "field_z": 0}
    with pytest.raises(Exception, match="the ground state is degenerate; add a small field"):
        hpcsim.solve(ising, {"name": "liouvillian", "initial": {"ground_state": {}}, **EVOLVE})


@pytest.mark.parametrize("name, more", [("liouvillian", {}), ("trajectories", {"trajectories": 2, "batch": 1})])
def test_variances_are_means_over_sites_that_differ(name, more):
    """All sites of the system are alike, those of the state are not: ⟨Sx²⟩ - ⟨Sx⟩² of each is 1/4 - ⟨Sx⟩²."""
    items = ["Sx_0", "Sx_1", "Sx_2"]
    method = {"name": name, "initial": "random", "task": "evolve", "times": [0], "observables": items, **more}
    data = hpcsim.solve(MODEL, method)
    each = np.array([data[item].values.squeeze() for item in items])
    assert np.allclose(data.var_Sx.values.squeeze(), np.mean(0.25 - each**2), atol=1e-9)
    assert abs(np.mean(each**2) - np.mean(each) ** 2) > 0.01
