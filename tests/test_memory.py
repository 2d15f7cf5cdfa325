"""A run that does not fit into memory is refused with what would make it fit."""
import re

import pytest

from hpcsim import config, sweep

ENDS = """
title: ends
model: {name: all_to_all_xyz, N: 13, Jx: 0.6, Jy: 1.4, Jz: 1.0, decay: 1.0}
method: {name: liouvillian, task: antigap}
sweep: [{model.Jy: [1.0, 1.2]}]
"""


@pytest.fixture
def planned(tmp_path):
    """Four records of 8 GB."""
    path = tmp_path / "ends.yaml"
    path.write_text(ENDS)
    plan = sweep.plan(config.load(path))
    assert len(plan.bytes) == 4 and plan.bytes.min() > 8.0e9 and plan.bytes.max() < 8.2e9
    return plan


@pytest.mark.parametrize("available, ranks, nodes, mend", [
    (33e9, 4, 1, None), (17e9, 4, 2, None), (9e9, 1, 1, None),
    (32e9, 4, 1, "run.ranks_per_point: 2, for 2 records at once"),
    (17e9, 6, 1, "run.ranks_per_point: 3, for 2 records at once"),
    (9e9, 4, 1, "run.ranks_per_point: 4, for 1 records at once"),
    (3e9, 1, 1, "3 nodes like this with run.ranks_per_point: 3"),
    (3e9, 8, 2, "3 nodes like this with run.ranks_per_point: 12"),
])
def test_the_number_of_ranks_or_nodes_is_told(planned, monkeypatch, available, ranks, nodes, mend):
    monkeypatch.setattr(sweep, "memory_available", lambda: available)
    if mend is None:
        return sweep.check_memory(planned, ranks, nodes)
    with pytest.raises(config.ConfigError, match=re.escape(mend)):
        sweep.check_memory(planned, ranks, nodes)


def test_with_the_number_told_it_fits(planned, monkeypatch):
    monkeypatch.setattr(sweep, "memory_available", lambda: 17e9)
    planned.config["run"]["ranks_per_point"] = 3
    sweep.check_memory(planned, 6)


def test_methods_that_fit_are_told(planned, monkeypatch):
    """The permutation-symmetric space is 10^5 times smaller."""
    monkeypatch.setattr(sweep, "memory_available", lambda: 3e9)
    with pytest.raises(config.ConfigError, match=r"methods that fit: .*permutation \(0.0"):
        sweep.check_memory(planned, 1)
