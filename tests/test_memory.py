"""A run that does not fit into memory is refused with what would make it fit."""

import re

import pytest
import yaml

from hpcsim.run import config, memory
from hpcsim.run import plan as planning

ENDS = """
title: ends
model: {name: all_to_all_xyz, N: 13, Jx: 0.6, Jy: 1.4, Jz: 1.0, decay: 1.0}
method: {name: liouvillian, task: antigap}
sweep: [{model.Jy: [1.0, 1.2]}]
"""

DIMER = {"name": "gain_loss_lattice", "cells": 1, "S": 80, "gain": 1.0, "loss": 1.0}
SPINS = {"name": "all_to_all_xyz", "N": 300, "Jx": 0.6, "Jy": 1.2, "Jz": 1.0, "decay": 1.0}


@pytest.fixture
def planned(tmp_path):
    """Four records of 8 GB."""
    path = tmp_path / "ends.yaml"
    path.write_text(ENDS)
    found = planning.plan(config.load(path))
    assert len(found.bytes) == 4 and found.bytes.min() > 8.0e9 and found.bytes.max() < 8.2e9
    return found


@pytest.mark.parametrize(
    "available, ranks, nodes, fix",
    [
        (33e9, 4, 1, None),
        (17e9, 4, 2, None),
        (9e9, 1, 1, None),
        (32e9, 4, 1, "run.ranks_per_point: 2, for 2 records at once"),
        (17e9, 6, 1, "run.ranks_per_point: 3, for 2 records at once"),
        (9e9, 4, 1, "run.ranks_per_point: 4, for 1 records at once"),
        (3e9, 1, 1, "3 nodes like this with run.ranks_per_point: 3"),
        (3e9, 8, 2, "3 nodes like this with run.ranks_per_point: 12"),
    ],
)
def test_the_number_of_ranks_or_nodes_is_told(planned, monkeypatch, available, ranks, nodes, fix):
    monkeypatch.setattr(memory, "memory_available", lambda: available)
    if fix is None:
        memory.check_memory(planned, ranks, nodes)
        return
    with pytest.raises(config.ConfigError, match=re.escape(fix)):
        memory.check_memory(planned, ranks, nodes)


def test_with_the_number_told_it_fits(planned, monkeypatch):
    monkeypatch.setattr(memory, "memory_available", lambda: 17e9)
    planned.config["run"]["ranks_per_point"] = 3
    memory.check_memory(planned, 6)


def test_a_limit_of_the_shell_counts_for_each_process(planned, monkeypatch):
    monkeypatch.setattr(memory, "memory_available", lambda: 99e9)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (2**32, -1))
    with pytest.raises(config.ConfigError, match="needs about 8.*, or .* nodes like this"):
        memory.check_memory(planned, 1)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (2**20, -1))  # this process has more already
    with pytest.raises(config.ConfigError, match="0 GB is available.*, or a larger ulimit -v"):
        memory.check_memory(planned, 1)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (2**35, -1))
    memory.check_memory(planned, 1)


def test_methods_that_fit_are_told(planned, monkeypatch):
    """The permutation-symmetric space is 10^5 times smaller."""
    monkeypatch.setattr(memory, "memory_available", lambda: 3e9)
    with pytest.raises(config.ConfigError, match=r"methods that fit: .*permutation \(0.0"):
        memory.check_memory(planned, 1)


@pytest.mark.parametrize(
    "model, method, fix",
    [
        (
            DIMER,
            {"name": "liouvillian", "task": "gap", "sectors": [0, 1]},
            "with method.petsc_options: {st_mat_mumps_icntl_22: 1} one record needs 6.29 GB",
        ),
        (
            DIMER,
            {"name": "liouvillian", "task": "gap", "sectors": [0, 1], "petsc_options": {"eps_ncv": 80}},
            "with method.petsc_options: {eps_ncv: 80, st_mat_mumps_icntl_22: 1} one record needs",
        ),
        (SPINS, {"name": "permutation"}, "with method.solver: iterative one record needs"),
        (SPINS, {"name": "permutation", "susceptibility": True}, None),
    ],
)
def test_an_option_that_makes_it_fit_is_told(tmp_path, monkeypatch, model, method, fix):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"model": model, "method": method}))
    plan = planning.plan(config.load(path))
    monkeypatch.setattr(memory, "memory_available", lambda: 17e9)
    with pytest.raises(config.ConfigError) as caught:
        memory.check_memory(plan, 1)
    assert fix in str(caught.value) if fix else "with method." not in str(caught.value)
