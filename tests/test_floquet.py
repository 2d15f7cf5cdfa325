"""Periodic steady states and their gap, against the dense map of one period."""

import numpy as np
import pytest
import yaml
from runs import collected
from runs import command as hpcsim_command
from scipy.integrate import solve_ivp
from test_in_time import linear_in

import hpcsim
from hpcsim.run.config import ConfigError
from hpcsim.run.problem import Problem
from hpcsim.system import matrices

T = 2.0
CHAIN = {"name": "spin_network", "convention": "standard", "sites": 3, "Jx": 0.7, "Jy": 0.3, "Jz": 1.0, "decay": 0.3}
STEP = {"times": [0.5, 1], "values": [0.0, 0.4], "kind": "step", "period": T}
COSINE = {"function": "0.8*cos(2*pi*t/T)", "T": T}
# translations and a mirror; none of them and all sites different; a conserved charge
SYSTEMS = {
    "ring": (CHAIN, {"model.field_x": COSINE, "model.gain": STEP}),
    "unequal": (CHAIN | {"sites": 2, "field_z": [0.3, 0.9]}, {"model.field_x": COSINE}),
    "charged": (CHAIN | {"Jy": 0.7}, {"model.gain": STEP, "model.Jz": COSINE}),
}
RANDOM = np.random.default_rng(16)


def random_ring(**more):
    """Couplings, fields and rates drawn by chance."""
    J = dict(zip(("Jx", "Jy", "Jz"), RANDOM.normal(size=3).tolist()))
    return CHAIN | J | {"field_z": RANDOM.normal(), "decay": RANDOM.uniform(0.1, 0.5)} | more


def phases_of(sites):
    """Hopping with a phase of its own on every bond: no reflection, no equal sites."""
    angles = RANDOM.uniform(-3, 3, sites - 1)
    bonds = [[i, i + 1] for i in range(sites - 1)]
    return {
        "operators": ["S+", "S-"],
        "sites": bonds,
        "coefficients": [{"abs": 0.6, "phase": float(a)} for a in angles],
    }


SYSTEMS |= {  # a parity alone, a charge alone, nothing at all, translations of spins 1
    "random parity": (random_ring(sites=2), {"model.Jx": COSINE, "model.dephasing": STEP}),
    "random charge": (
        random_ring(Jx=0.4, Jy=0.4, terms=[phases_of(3)]),
        {"model.field_z": COSINE, "model.gain": STEP},
    ),
    "random": (random_ring(sites=2, terms=[phases_of(2)]), {"model.field_y": COSINE, "model.gain": STEP}),
    "random spins 1": (random_ring(sites=2, S=1), {"model.field_x": COSINE, "model.twist": COSINE}),
}
FLOQUET = {"name": "liouvillian", "task": "floquet", "period": T}


def at(schedule, t):
    values = {"field_x": 0.8 * np.cos(2 * np.pi * t / T), "gain": 0.4 * (t % T >= 1)}
    return {key[6:]: values["field_x" if course is COSINE else "gain"] for key, course in schedule.items()}


def period_map(model, schedule):
    """P of all |m><n| and ⟨Sx⟩, ⟨Sz⟩ of the mean site as functionals."""
    dense = linear_in(model, list(at(schedule, 0)))
    size = dense(at(schedule, 0)).shape[0]

    def change(t, x):
        return (dense(at(schedule, t)) @ x.reshape(size, -1)).ravel()

    P = np.eye(size, dtype=complex).ravel()
    for begin, end in ((0, 1), (1, 2)):
        P = solve_ivp(change, (begin, np.nextafter(end, begin)), P, "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    return P.reshape(size, size)


@pytest.fixture(scope="module", params=list(SYSTEMS))
def case(request):
    """Model, schedule and the eigenvalues and right eigenvectors of P, the largest first."""
    model, schedule = SYSTEMS[request.param]
    values, vectors = np.linalg.eig(period_map(model, schedule))
    order = np.argsort(-abs(values))
    return model, schedule, values[order], vectors[:, order]


def test_the_gap_is_that_of_the_dense_map_and_the_smallest_of_all_sectors(case):
    model, schedule, values, _ = case
    found = hpcsim.solve(model, FLOQUET | {"task": "floquet_gap"}, schedule=schedule)
    assert found.gap == pytest.approx(-np.log(abs(values[1])) / T, rel=1e-7) and found.residual < 1e-8
    phases = abs(np.angle(values[np.isclose(abs(values), abs(values[1]))])) / T
    assert np.min(abs(phases - float(found.frequency))) < 1e-7


def test_the_steady_state_is_the_fixed_point_and_comes_back(case):
    model, schedule, values, vectors = case
    data = hpcsim.solve(model, FLOQUET | {"times": [0, 0.6, T]}, schedule=schedule)
    system = Problem(model, {"name": "liouvillian"}).system
    D = round(system.dimension)
    rho = vectors[:, 0].reshape(D, D, order="F")
    rho = rho / np.trace(rho)
    for name in ("Sx", "Sy", "Sz"):
        mean = np.mean([(matrices.site_operator(system, name, i) @ rho).trace().real for i in range(system.sites)])
        seen = data[name].values.squeeze()
        assert seen[0] == pytest.approx(mean, abs=1e-7) and seen[2] == pytest.approx(mean, abs=1e-7)
    assert abs(data.Sz.values.squeeze()[1] - data.Sz.values.squeeze()[0]) > 1e-4


def test_a_drive_that_waits_for_the_steady_state_ends_there():
    model, schedule = SYSTEMS["unequal"]
    late = np.linspace(90, 90 + T, 3)
    evolved = hpcsim.solve(model, {"name": "liouvillian", "task": "evolve", "times": list(late)}, schedule=schedule)
    found = hpcsim.solve(model, FLOQUET | {"times": [0, T / 2, T], "observables": ["entropy"]}, schedule=schedule)
    assert np.allclose(found.Sx, evolved.Sx, atol=1e-7) and np.all(found.entropy > 0.01)


def test_a_short_period_is_many_of_them_in_one_step():
    """A fast drive around a mean: the gap of the mean field, up to (coupling · T)²."""
    model = CHAIN | {"sites": 2, "field_x": 0.5}
    fast = {"model.field_x": {"function": "0.5 + 0.4*cos(2*pi*t/T)", "T": 0.2}}
    found = hpcsim.solve(model, FLOQUET | {"task": "floquet_gap", "period": 0.2}, schedule=fast)
    assert float(found.gap) == pytest.approx(
        float(hpcsim.solve(model, {"name": "liouvillian", "task": "gap"}).gap), rel=1e-3
    )


def test_by_the_command(tmp_path):
    model, schedule = SYSTEMS["ring"]
    config, run, method = tmp_path / "c.yaml", tmp_path / "r.h5", FLOQUET | {"times": [0, 1, T]}
    config.write_text(yaml.safe_dump({"model": model, "method": method, "schedule": schedule}))
    assert hpcsim_command("check", config) == hpcsim_command("run", config, "--out", run) == 0
    data, alone = hpcsim.open(collected(run)), hpcsim.solve(model, method, schedule=schedule)
    assert np.array_equal(data.Sx, alone.Sx) and np.abs(data.Sx).max() > 0.01 and data.residual < 1e-8


@pytest.mark.parametrize(
    "method, schedule, words",
    [
        (
            {"period": 3.0},
            {"model.field_x": COSINE},
            "method.period = 3: schedule.model.field_x does not have this period",
        ),
        ({}, None, "no parameter depends on time; give a schedule, or take steady_state"),
        ({"times": [0, 1]}, {"model.field_x": COSINE}, "method.times: the last one must be the period, 2"),
        ({"period": None}, {"model.field_x": COSINE}, "is missing; task: floquet requires it"),
        (
            {"task": "gap", "times": None},
            {"model.field_x": COSINE},
            "period belongs to the tasks floquet and floquet_gap",
        ),
        ({"name": "permutation", "period": None, "times": [1]}, {"model.field_x": COSINE}, "floquet"),
    ],
)
def test_what_does_not_fit_is_one_message(method, schedule, words):
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(CHAIN, FLOQUET | method, schedule=schedule)
    assert words in str(error.value), error.value
