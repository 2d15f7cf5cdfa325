"""The exact method distributed over ranks: run under mpirun, every rank runs every test.

Each test compares the whole communicator with this rank alone.
"""

import numpy as np
import pytest
from mpi4py import MPI

from hpcsim import solvers
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import Options, antigap
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name
from hpcsim.models import collective_spin, gain_loss_lattice, spin_network, xyz_lattice

WORLD = MPI.COMM_WORLD
DIMER = gain_loss_lattice.build(gain_loss_lattice.Params(S=4, gain=0.5, loss=0.7))
CHAIN = gain_loss_lattice.build(gain_loss_lattice.Params(S=0.5, cells=3, h=0.4, gain=0.9, loss=0.7))
TWISTED = collective_spin.build(collective_spin.Params(S=8, drive=1.3, decay=1, twist=0.4))


def run(system, comm, record, earlier=None, **options):
    context = Context(comm, (0, 0), lambda: False, earlier=earlier or {})
    return liouvillian.run(system, Options(**options), Name(*record), context)


def run_after_those_it_needs(system, comm, record, **options):
    given = Options(**options)
    records, needed = liouvillian.records(system, given), liouvillian.needs(system, given, Name(*record))
    return run(system, comm, record, {i: run(system, comm, records[i], **options) for i in needed}, **options)


def identical_everywhere(result):
    """Whether all ranks hold the same bits."""
    return all(
        WORLD.allgather(np.asarray(value).tobytes()) == [np.asarray(value).tobytes()] * WORLD.size
        for value in result.values()
    )


@pytest.mark.parametrize(
    "system, record",
    [
        (DIMER, (0, 0)),
        (DIMER, (0, 1)),
        (DIMER, (1, 0)),
        (DIMER, (7, 0)),
        (CHAIN, (0, 0, 1)),
        (TWISTED, (0, 0)),
    ],
    ids=["dimer even", "dimer odd", "dimer k = 1", "dimer, dense", "chain", "no symmetry"],
)
def test_spectrum_is_the_same_on_all_ranks_and_on_one(system, record):
    alone = run(system, MPI.COMM_SELF, record, task="spectrum")
    together = run(system, WORLD, record, task="spectrum")
    assert np.allclose(together["eigenvalues"], alone["eigenvalues"], rtol=0, atol=1e-9)
    assert together["gap"] == pytest.approx(alone["gap"], abs=1e-9)
    assert together["residual"].max() < 1e-10
    assert identical_everywhere(together)


@pytest.mark.parametrize("record, excluded", [((1, 0), False), ((2, 0), True), ((9, 0), True)])
def test_sectors_are_excluded_on_all_ranks_as_on_one(record, excluded):
    balanced = gain_loss_lattice.build(gain_loss_lattice.Params(S=4, gain=1, loss=1))
    alone, together = (run_after_those_it_needs(balanced, comm, record, task="gap") for comm in (MPI.COMM_SELF, WORLD))
    assert np.isnan(together["gap"]) == excluded and np.isnan(together["excluded_decay"]) != excluded
    for name in alone:  # a bound depends on where its recursion ends, and so on the last bits of the steady state
        rtol, atol = (0.01, 0) if name in ("certified_decay", "excluded_decay") else (0, 1e-9)
        assert np.allclose(together[name], alone[name], rtol=rtol, atol=atol, equal_nan=True), name
    assert identical_everywhere(together)


@pytest.mark.parametrize("system", [DIMER, CHAIN, TWISTED], ids=["dimer", "chain", "no symmetry"])
def test_steady_state_is_the_same_on_all_ranks_and_on_one(system):
    (record,) = liouvillian.records(system, Options())
    alone, together = run(system, MPI.COMM_SELF, record), run(system, WORLD, record)
    for name in alone:
        assert np.allclose(together[name], alone[name], rtol=0, atol=1e-11), name
    assert identical_everywhere(together)


def test_more_ranks_than_unknowns():
    system = collective_spin.build(collective_spin.Params(S=0.5, decay=1))
    assert Sector(operators(system), HOME).size == 2
    assert run(system, WORLD, HOME)["Sz"] == pytest.approx(-0.5)
    assert run(system, WORLD, (1, 0), task="spectrum")["eigenvalues"][0] == pytest.approx(-1)


def test_every_rank_assembles_its_own_rows_only():
    sector = Sector(operators(DIMER), Name(1))
    start, stop = solvers.row_range(WORLD, sector.size)
    ranges = WORLD.allgather((start, stop))
    assert ranges[0][0] == 0 and ranges[-1][1] == sector.size
    assert all(before[1] == after[0] for before, after in zip(ranges, ranges[1:]))
    assert max(b - a for a, b in ranges) - min(b - a for a, b in ranges) <= 1
    parts = WORLD.allgather(sector.rows(start, stop))
    whole = sector.rows(0, sector.size)
    assert sum(part.nnz for part in parts) == whole.nnz
    assert abs(np.vstack([part.toarray() for part in parts]) - whole.toarray()).max() == 0


def test_groups_of_ranks_work_apart():
    """Each rank a group of its own, with a point of its own, at the same time."""
    gain = 0.5 + 0.1 * WORLD.rank
    system = gain_loss_lattice.build(gain_loss_lattice.Params(S=3, gain=gain, loss=0.7))
    group = WORLD.Split(WORLD.rank)
    mine = run(system, group, HOME)["Sz"]
    every = WORLD.allgather(mine)
    for rank, Sz in enumerate(every):
        other = gain_loss_lattice.build(gain_loss_lattice.Params(S=3, gain=0.5 + 0.1 * rank, loss=0.7))
        assert np.allclose(run(other, MPI.COMM_SELF, HOME)["Sz"], Sz, atol=1e-12)


DEPHASED = spin_network.build(
    spin_network.Params(sites=5, Jx=0.7, Jy=1.1, Jz=0.3, field_x=0.2, decay=0.5, dephasing=0.2)
)
RING = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=0.7, Jy=1.1, Jz=0.3))


@pytest.mark.parametrize("parity", [0, 1])
def test_both_ends_without_a_matrix_are_the_same_on_all_ranks_and_on_one(parity):
    alone = run(RING, MPI.COMM_SELF, (0, parity), task="antigap")
    together = run(RING, WORLD, (0, parity), task="antigap")
    assert together["gap"] == pytest.approx(alone["gap"], abs=1e-7)
    assert np.allclose(together["fastest"], alone["fastest"], rtol=0, atol=1e-7, equal_nan=True)
    assert identical_everywhere(together)


@pytest.mark.parametrize("odd", [0, 1])
def test_a_product_without_a_matrix_has_the_bits_of_one_rank_and_each_rank_its_rows(odd):
    alone, shared = (antigap.ParityBlocks(RING, odd, comm) for comm in (MPI.COMM_SELF, WORLD))
    x = np.random.default_rng(odd).standard_normal(alone.size)
    start, stop = (shared.width * row for row in solvers.row_range(WORLD, 2 * shared.width))
    assert shared.local == stop - start and alone.local == alone.size
    found = shared.multiply(x[start:stop])
    assert len(found) == shared.local and found.tobytes() == alone.multiply(x)[start:stop].tobytes()


@pytest.mark.parametrize("dense", [10, 10000], ids=["Krylov", "LAPACK"])
@pytest.mark.parametrize(
    "system, record",
    [(DIMER, (0, 0)), (DIMER, (1, 0)), (DEPHASED, (0, 0, 1)), (TWISTED, (0, 0))],
    ids=["dimer", "dimer k = 1", "ring", "no symmetry"],
)
def test_both_ends_of_assembled_sectors_are_the_same_on_all_ranks_and_on_one(monkeypatch, system, record, dense):
    monkeypatch.setattr(solvers.ends, "DENSE", dense)
    alone, together = (run(system, comm, record, task="antigap") for comm in (MPI.COMM_SELF, WORLD))
    for name in ("gap", "fastest"):
        assert np.allclose(together[name], alone[name], rtol=0, atol=1e-7, equal_nan=True), name
    assert not np.isnan(together["fastest"]).any()
    assert identical_everywhere(together)


@pytest.mark.parametrize(
    "system, initial",
    [
        (RING, (0.3, 0.2)),
        (DIMER, {"a": (0.3, 0.2), "b": (0.6, 0.7)}),
        (TWISTED, (1, 0)),
    ],
    ids=["ring", "dimer", "twisted"],
)
def test_evolution_is_the_same_on_all_ranks_and_on_one(system, initial):
    options = dict(task="evolve", times=(0.0, 0.3, 1.0), initial=initial, observables=("squeezing",))
    alone, together = run(system, MPI.COMM_SELF, HOME, **options), run(system, WORLD, HOME, **options)
    for name in alone:
        assert np.allclose(together[name], alone[name], rtol=0, atol=1e-7), name
    assert identical_everywhere(together)


def test_distributions_are_gathered_from_all_ranks():
    alone, together = (run(DIMER, comm, HOME, observables=("P_ab",)) for comm in (MPI.COMM_SELF, WORLD))
    assert together["P_ab"].sum() == pytest.approx(1)
    assert np.allclose(together["P_ab"], alone["P_ab"], rtol=0, atol=1e-12)


def test_two_time_functions_and_counting_are_those_of_one_rank():
    functions = [{"name": "light", "A": [["S+", 0]], "B": [["S-", 0]]}, {"name": "pairs", "lowering": {"sum": "S-"}}]
    tasks = [
        dict(task="correlation", functions=functions, times=(0.0, 0.7)),
        dict(task="emission", functions=functions, frequencies=(-1.0, 0.0, 2.0)),
        dict(task="counting", channels=[{"name": "out", "jumps": "S-", "sites": [1]}]),
    ]
    for options in tasks:
        alone, together = (run(CHAIN, comm, (0, 0), **options) for comm in (MPI.COMM_SELF, WORLD))
        assert identical_everywhere(together) and together.keys() == alone.keys()
        for name in alone.keys() - {"residual"}:
            assert np.allclose(together[name], alone[name], rtol=1e-7, atol=1e-9), name
