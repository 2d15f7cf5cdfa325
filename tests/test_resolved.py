"""The resolved config, with every default written out, is the same run: nothing is refused or means something else."""

import importlib
import math
import pkgutil

import numpy as np
import pytest
import yaml
from reference import random_parameters

import hpcsim.methods
import hpcsim.models
from hpcsim.run import config
from hpcsim.run.plan import plan
from hpcsim.run.problem import Problem

MODELS = [m.name for m in pkgutil.iter_modules(hpcsim.models.__path__)]
METHODS = [m.name for m in pkgutil.iter_modules(hpcsim.methods.__path__)]
TIMES = {"task": "evolve", "times": {"linspace": [0, 1, 3]}}
SETTINGS = {  # of every method: options that have defaults of their own, or none
    "gaussian": [{}, {"task": "configurations"}, {"state": [0.25, 1.0]}],
    "liouvillian": [{}, {"task": "spectrum"}, {"task": "gap", "sectors": [0]}, {"task": "antigap"}, TIMES]
    + [{"petsc_options": {"st_pc_factor_mat_solver_type": "mumps", "eps_ncv": 40}}],
    "matrix_product": [{}, {"bond_dimension": 8}],
    "mean_field": [{}, TIMES],
    "permutation": [{}, {"task": "spectrum"}, TIMES],
    "phase_space": [{}, TIMES, {"dt": "auto"}, {"burn_in": "auto", "duration": 100}, {"observables": ["histogram_Sz"]}],
    "trajectories": [{}, TIMES, {"burn_in": "auto", "duration": 100}, {"observables": ["Sz_0"]}],
}


def points(resolved):
    return [config.point(resolved, p) for p in range(math.prod(config.shape(resolved)))]


def resolved_again(planned):
    """The config of a plan, through the YAML text that files keep."""
    text = yaml.safe_dump(planned.config, sort_keys=False, allow_unicode=True)
    return config.resolve(config._parse(text, "the file"))


def same(one: Problem, other: Problem) -> bool:
    return (one.params, one.options, one.system.key, one.key(1)) == (
        other.params,
        other.options,
        other.system.key,
        other.key(1),
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_model_survives_the_round_trip(model):
    method = next(m for m in ("liouvillian", "mean_field") if supported(model, m))
    for seed in range(40):
        raw = config.resolve({"model": {"name": model, **random_parameters(model, seed)}, "method": {"name": method}})
        again = resolved_again(plan(raw))
        assert same(Problem(raw["model"], raw["method"]), Problem(again["model"], again["method"])), raw["model"]
        assert plan(again).config == plan(raw).config


def supported(model, method):
    built = importlib.import_module(f"hpcsim.models.{model}")
    system = built.build(built.Params(**random_parameters(model, 0)))
    return importlib.import_module(f"hpcsim.methods.{method}").supports(system) is None


@pytest.mark.parametrize("method", METHODS)
def test_every_method_survives_the_round_trip(method):
    model = {
        "matrix_product": {"name": "gain_loss_lattice", "cells": 2, "S": 0.5, "h": 0.5, "gain": 0.4, "loss": 0.7},
        "permutation": {"name": "all_to_all_xyz", "N": 3, "Jx": 0.6, "Jy": 1.0, "Jz": 1.0, "decay": 1.0},
    }.get(method, {"name": "xyz_lattice", "convention": "lee2013", "sites": 2, "Jx": 0.9, "Jy": 1.2, "decay": 1.0})
    for options in SETTINGS[method]:
        raw = config.resolve({"model": model, "method": {"name": method, **options}})
        again = resolved_again(plan(raw))
        assert same(Problem(raw["model"], raw["method"]), Problem(again["model"], again["method"])), options


def test_a_default_that_depends_on_what_is_swept_is_found_again_at_every_point():
    """task: spectrum has six eigenvalues by default, task: gap refuses the key."""
    model = {"name": "collective_spin", "S": 3, "drive": 0.5, "decay": 1.0}
    for tasks in (["spectrum", "gap"], ["gap", "spectrum"]):
        raw = config.resolve(
            {"model": model, "method": {"name": "liouvillian"}, "sweep": [{"method.task": tasks, "model.S": [2, 3]}]}
        )
        again = resolved_again(plan(raw))
        for one, other in zip(points(raw), points(again)):
            assert same(Problem(*one), Problem(*other))


def test_an_edge_is_two_sites():
    model = {"name": "spin_network", "sites": 3, "Jx": 1.0, "decay": 0.5}
    for edges in ([[True, 0]], [[0, 1.5]], [[0, 3]], [[1, 1]]):
        with pytest.raises(config.ConfigError, match="edges: .* does not join two of the sites"):
            Problem(dict(model, edges=edges), {"name": "liouvillian"})
    system = Problem(dict(model, edges=[]), {"name": "liouvillian"}).system
    assert not any(len(terms.operators) == 2 and np.any(terms.coefficients) for terms in system.hamiltonian)
