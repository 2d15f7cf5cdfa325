"""hpcsim.solve, collective: every rank is given what one rank alone computes."""

import numpy as np
import pytest
from mpi4py import MPI
from test_api import CONFIGS, DIMER, same

import hpcsim
from hpcsim.run.config import ConfigError

WORLD = MPI.COMM_WORLD


@pytest.mark.parametrize("name", CONFIGS)
def test_all_ranks_get_the_bits_of_one(name):
    assert same(hpcsim.solve(**CONFIGS[name], comm=WORLD), hpcsim.solve(**CONFIGS[name]))


def test_ranks_that_share_a_point():
    shared = hpcsim.solve(DIMER, "liouvillian", run={"ranks_per_point": WORLD.size}, comm=WORLD)
    assert np.allclose(shared.Sz, hpcsim.solve(DIMER).Sz, rtol=0, atol=1e-12)
    gap = CONFIGS["gap"] | {"run": {"ranks_per_point": WORLD.size}, "comm": WORLD}
    assert np.allclose(hpcsim.solve(**gap).gap, hpcsim.solve(**CONFIGS["gap"]).gap, rtol=0, atol=1e-9)


def test_wrong_input_is_an_error_on_every_rank():
    with pytest.raises(ConfigError, match="model.S"):
        hpcsim.solve(DIMER | {"S": 0.3}, comm=WORLD)
    with pytest.raises(ConfigError, match="must divide"):
        hpcsim.solve(DIMER, run={"ranks_per_point": WORLD.size + 1}, comm=WORLD)


def test_communicators_are_given_back():
    """More calls than an MPI library has communicators to give would be too many to try; these used to add up."""
    context = [MPI.COMM_SELF.Dup() for _ in range(2)]
    first = context[1].py2f()
    for comm in context:
        comm.Free()
    for _ in range(3):
        hpcsim.solve(DIMER | {"S": 0.5}, comm=WORLD)
    again = MPI.COMM_SELF.Dup()
    assert again.py2f() <= first + 4
    again.Free()
