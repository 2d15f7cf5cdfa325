"""One trajectory on several ranks against the same trajectory on one. Run with mpirun -n 1, 2, 3, ..."""

import numpy as np
import pytest
from mpi4py import MPI

from hpcsim.methods import Context, trajectories
from hpcsim.methods.trajectories import distributed
from hpcsim.models import all_to_all_xyz, gain_loss_lattice, xyz_lattice
from hpcsim.system import Jumps, System, Terms

COMM = MPI.COMM_WORLD
SITES, PAIRS = np.arange(4), np.column_stack(np.triu_indices(4, 1))
NAMED = ("Sx_0_Sy_2", "Sz_1", "entanglement_entropy")
SYSTEMS = {
    "chain": (
        xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=6, Jx=0.9, Jy=1.7, Jz=0.4)),
        ("correlation", *NAMED),
    ),
    "collective jumps": (
        all_to_all_xyz.build(
            all_to_all_xyz.Params(
                N=4,
                Jx=0.6,
                Jy=1.4,
                Jz=1,
                decay=0.3,
                collective_decay=2,
                collective_dephasing=0.5,
                field=0.3,
                field_angle=0.3,
            )
        ),
        ("correlation", *NAMED),
    ),
    # H - (i/2) L†L takes quanta to later sites alone: between some ranks only one sends
    "cascaded": (
        System(
            np.full(4, 0.5),
            (
                Terms(("S+", "S-"), PAIRS, np.full(6, 0.4j), plus_hc=True),
                Terms(("Sx",), SITES[:, None], np.full(4, 0.7)),
            ),
            (
                Jumps("S-", SITES, np.array([0.8]), collective=True),
                Jumps(("S+", "S-"), PAIRS[:4], np.full(4, 0.5)),
                Jumps(("S-", "Sz"), PAIRS[2:4], np.array([0.5]), weights=np.array([1, 0.6j])),
            ),
        ),
        NAMED,
    ),
    "modes": (
        System(
            np.array([0, 0.5, 0, 0.5, 0.5]),
            (
                Terms(("S+", "a"), np.array([[1, 0], [3, 2]]), np.array([0.9, 0.5j]), plus_hc=True),
                Terms(("S+", "S-"), np.array([[1, 4], [3, 4]]), np.ones(2), plus_hc=True),
            ),
            (
                Jumps("a", np.array([0, 2]), np.ones(1), weights=np.array([1, 0.6j])),
                Jumps(("a", "S-"), np.array([[0, 4]]), np.array([0.7])),
            ),
            cutoffs=np.array([3, 0, 2, 0, 0]),
        ),
        ("Sx_1_Sy_3", {"name": "pair", "product": [["x", 0], ["S-", 3]]}),
    ),
    "spins 1": (gain_loss_lattice.build(gain_loss_lattice.Params(cells=2, S=1, gain=0.6, loss=0.4)), NAMED),
}


def run(name, comm, distribute):
    system, observables = SYSTEMS[name]
    options = trajectories.Options(
        task="evolve",
        times=(0, 0.7, 2.5),
        trajectories=4,
        batch=2,
        initial=(0.2, 0.3),
        observables=observables,
        distribute=distribute,
    )
    return trajectories.run(system, options, 1, Context(comm, (3, 4), lambda: False))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_shared_state_vector_is_that_of_one_rank(name):
    """The same jumps and results, to rounding, and the same bits on every rank."""
    alone, together = run(name, MPI.COMM_SELF, False), run(name, COMM, True)
    assert alone["jumps"] == together["jumps"] > 0
    for key, value in alone.items():
        assert np.allclose(together[key], value, rtol=0, atol=1e-8), key
        assert all(np.array_equal(together[key], other) for other in COMM.allgather(together[key]))


TASKS = {
    "correlation": {"times": (0, 0.4), "functions": [{"name": "f", "A": [["S+", 1]], "B": {"sum": "S-"}}]},
    "counting": {"channels": [{"name": "f", "jumps": "S-"}], "waiting": (0, 0.5, 1)},
    "currents": {"task": "counting", "channels": [{"name": "f", "jumps": "S-"}], "unravelling": "heterodyne"},
}


@pytest.mark.parametrize("task", TASKS)
def test_what_trajectories_record_is_that_of_one_rank_to_the_bit(task):
    """More ranks than trajectories included."""
    given = {"task": task, "trajectories": 4, "batch": 2, "burn_in": 1, "duration": 4, "sample_every": 2}
    options = trajectories.Options(**given | TASKS[task])
    system, alone = SYSTEMS["chain"][0], Context(MPI.COMM_SELF, (3, 4), lambda: False)
    wanted = trajectories.run(system, options, 1, alone)
    found = trajectories.run(system, options, 1, Context(COMM, (3, 4), lambda: False))
    assert all(np.array_equal(found[name], wanted[name]) and np.any(wanted[name]) for name in wanted)


def test_ranks_that_share_a_vector():
    sites, ranks = distributed.team(SYSTEMS["chain"][0], COMM)
    assert ranks == {1: 1, 2: 2, 3: 2, 4: 4}.get(COMM.size, 8) and 2**sites == ranks
    assert distributed.team(SYSTEMS["spins 1"][0], COMM)[1] == (3 if COMM.size >= 3 else 1)
