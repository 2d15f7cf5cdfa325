"""Couplings J_ab S^a_i S^b_j of any components in phase space: Dzyaloshinskii's and Moriya's, and any other 3 x 3."""

import itertools

import numpy as np
import pytest

import hpcsim
from hpcsim.run.config import ConfigError

TIMES = [0.0, 0.4, 1.0]
EVOLVE = {"task": "evolve", "initial": [0.3, 0.2], "times": TIMES}
RING = [[0, 1], [1, 2], [2, 3], [3, 0]]


def network(S, bonds=RING, **more):
    """H = Σ_bonds Σ_ab J_ab S^a_i S^b_j / S with a J that is no symmetric matrix, and local decay."""
    J = np.random.default_rng(5).normal(size=(3, 3)) / S
    terms = [
        {"operators": [f"S{a}", f"S{b}"], "sites": bonds, "coefficients": float(J["xyz".index(a), "xyz".index(b)])}
        for a, b in itertools.product("xyz", repeat=2)
    ]
    sites = 1 + max(map(max, bonds))
    return {"name": "spin_network", "sites": sites, "S": S, "terms": terms, "decay": 0.3, "resolve": True} | more


def spins(data):
    return np.array([data[f"S{a}"].values for a in "xyz"])


def errors(data):
    return np.array([data[f"S{a}_stderr"].values for a in "xyz"])


IN_TIME = {"model.terms_strength": {"function": "1 + 0.5*sin(3*t)"}}


@pytest.mark.parametrize(
    "bonds, more, schedule",
    [
        (RING, {}, IN_TIME),
        (RING, {"scheme": "pda"}, None),
        ([[0, 1], [1, 2], [2, 0]], {"integrator": "sib"}, IN_TIME),
    ],
)
def test_large_spins_follow_mean_field(bonds, more, schedule):
    """Also in time, and where the sites do not fall into halves."""
    S = 400
    model, method = network(S, bonds), {"name": "phase_space", "trajectories": 64, "batch": 4, "dt": 0.02}
    data = hpcsim.solve(model, method | EVOLVE | more, schedule=schedule)
    expected = spins(hpcsim.solve(model, {"name": "mean_field"} | EVOLVE, schedule=schedule))
    assert np.all(np.abs(spins(data) - expected) < 4 * errors(data) + 4e-3 * S)
    assert errors(data).max() < 0.01 * S and np.abs(expected[..., -1] - expected[..., 0]).max() > 0.2 * S


def test_small_spins_follow_the_master_equation_at_short_times():
    model = network(4, [[0, 1]])
    method = {"name": "phase_space", "trajectories": 2048, "batch": 128, "dt": 0.02}
    data = hpcsim.solve(model, method | EVOLVE)
    exact = spins(hpcsim.solve(model, {"name": "liouvillian"} | EVOLVE))
    assert np.all(np.abs(spins(data) - exact) < 4 * errors(data) + 0.01 * 4 * np.array(TIMES) ** 2)


def test_what_it_does_not_take_is_named():
    mixed = {"terms": [{"operators": ["Sx", "Sz"], "sites": [[0, 1], [2, 2]], "coefficients": [1.0, 2.0]}]}
    with pytest.raises(ConfigError, match=r"the term Sx_2 Sz_2 \+ h.c.: only single operators"):
        hpcsim.solve(network(3) | mixed, {"name": "phase_space"} | EVOLVE | {"dt": 0.01})
    with pytest.raises(ConfigError, match="representation = P: unsound for this model"):
        method = {"name": "phase_space", "representation": "P", "scheme": "pda", "dt": 0.01}
        hpcsim.solve(network(3), method | EVOLVE)
