"""Condition numbers of eigenvalues, against those of the dense Liouvillian from Kronecker products."""

import numpy as np
import pytest
import reference
from scipy import linalg

import hpcsim
from hpcsim.run.config import ConfigError
from hpcsim.run.problem import Problem

SPECTRUM = {"name": "liouvillian", "task": "spectrum", "conditions": True}
PAIR = {
    "name": "spin_network",
    "convention": "standard",
    "sites": 2,
    "Jx": 0.7,
    "Jy": 0.2,
    "Jz": 0.5,
    "field_z": [0.3, 0.8],
}
MODELS = {
    "no symmetry": PAIR | {"field_x": 0.4, "decay": [0.3, 0.1], "dephasing": 0.2},
    "charge": PAIR | {"Jy": 0.7, "gain": [0.2, 0.0], "decay": [0.1, 0.5]},
    "dimer": {"name": "gain_loss_lattice", "S": 1, "cells": 1, "g": 1.0, "gain": 0.8, "loss": 1.1},
}


def dense(model, values):
    """κ of the dense L, in the order of values; NaN where an eigenvalue is not simple."""
    L = reference.liouvillian(Problem(model, {"name": "liouvillian"}).system)
    every, left, right = linalg.eig(L, left=True)
    kappa, found = 1 / abs(np.sum(left.conj() * right, axis=0)), []
    for value in values:
        near = np.flatnonzero(abs(every - value) < 1e-6)
        found.append(kappa[near[0]] if len(near) == 1 else np.nan)
    return np.array(found)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_condition_numbers_are_those_of_the_whole_liouvillian(model):
    data = hpcsim.solve(model, SPECTRUM | {"eigenvalues": 8})
    found, wanted = data.condition.values.squeeze(), dense(model, data.eigenvalues.values.squeeze())
    simple = ~np.isnan(wanted)
    assert simple.sum() >= 4 and np.allclose(found[simple], wanted[simple], rtol=1e-6)
    assert np.all(found >= 1 - 1e-9) and found.max() > 1.05


def test_they_diverge_at_the_exceptional_point_of_a_driven_spin():
    """H = Ω Sx with decay γ: Bloch's λ = -3γ/4 ± sqrt(γ²/16 - Ω²) coalesce at Ω = γ/4, κ as the inverse of their
    difference."""
    away = np.array([1e-3, 1e-4])
    model = {"name": "spin_network", "convention": "standard", "sites": 1, "decay": 1.0}
    sweep = {"model.field_x": [float(x) for x in 0.25 + away]}
    data = hpcsim.solve(model, SPECTRUM | {"eigenvalues": 4}, sweep=sweep)
    values, kappa = data.eigenvalues.values, data.condition.values
    pair = abs(values.real + 0.75) < 1e-6
    assert np.all(pair.sum(axis=-1) == 2)
    split = np.ptp(values.imag[pair].reshape(2, 2), axis=1)
    assert np.allclose(split, 2 * np.sqrt((0.25 + away) ** 2 - 1 / 16), rtol=1e-6)
    product = kappa[pair].reshape(2, 2) * split[:, None]
    assert kappa[pair].min() > 5 and np.allclose(product, product[0, 0], rtol=0.02)
    there = hpcsim.solve(model | {"field_x": 0.25}, SPECTRUM | {"eigenvalues": 4}).condition.values.squeeze()
    assert there[2:].min() > 1e5 and there[:2].max() < 2


@pytest.mark.parametrize(
    "method, words",
    [({"task": "gap"}, "conditions belong to task: spectrum"), ({"eigenvalues": 2}, "and 30000 are the limit")],
)
def test_what_does_not_fit_is_one_message(method, words):
    model = PAIR | {"sites": 9, "field_z": [0.1 * i for i in range(9)], "decay": 0.1}
    with pytest.raises(ConfigError, match=words):
        hpcsim.solve(model, SPECTRUM | method)
