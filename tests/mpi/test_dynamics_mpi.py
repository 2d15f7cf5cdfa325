"""Initial states, and periodic states, on all ranks and on one."""

import numpy as np
import pytest
from mpi4py import MPI

import hpcsim

WORLD = MPI.COMM_WORLD
MODEL = {"name": "spin_network", "convention": "standard", "sites": 3, "Jx": 0.7, "Jy": 0.3, "Jz": 1.0, "decay": 0.3}
MODEL |= {"field_z": 0.4}
SPINS = ("Sx", "Sy", "Sz", "var_Sz")


@pytest.mark.parametrize("initial", ["mixed", {"thermal": {"temperature": 0.5, "model.field_x": 1}}])
def test_trajectories_draw_the_same_states(initial):
    """The ranks of a group share the trajectories of a record."""
    method = {"name": "trajectories", "task": "evolve", "times": [0, 0.8], "initial": initial}
    method |= {"trajectories": 12, "batch": 6}
    run = {"ranks_per_point": WORLD.size}
    shared, alone = hpcsim.solve(MODEL, method, run=run, comm=WORLD), hpcsim.solve(MODEL, method)
    assert all(np.array_equal(shared[name], alone[name]) for name in SPINS)
    assert np.abs(alone.Sz.values).max() > 0.01


def test_ranks_that_share_a_periodic_state():
    schedule = {"model.field_x": {"function": "0.8*cos(pi*t)"}}
    run = {"ranks_per_point": WORLD.size}
    for method in ({"task": "floquet", "times": [0, 1, 2]}, {"task": "floquet_gap"}):
        method = {"name": "liouvillian", "period": 2, **method}
        shared = hpcsim.solve(MODEL, method, schedule=schedule, run=run, comm=WORLD)
        alone = hpcsim.solve(MODEL, method, schedule=schedule)
        names = SPINS if "Sx" in alone else ("gap",)
        assert all(np.allclose(shared[name], alone[name], atol=1e-8) for name in names)
    start = {"name": "liouvillian", "task": "evolve", "times": [1.0], "initial": {"ground_state": {"model.field_x": 2}}}
    shared = hpcsim.solve(MODEL, start, run=run, comm=WORLD)
    assert np.allclose(shared.Sx, hpcsim.solve(MODEL, start).Sx, atol=1e-10)
