"""The permutation-symmetric method distributed over ranks: run under mpirun, every rank runs every test.

Each test compares the whole communicator with this rank alone.
"""

import numpy as np
import pytest
from mpi4py import MPI

from hpcsim import solvers
from hpcsim.methods import Context, permutation
from hpcsim.methods.permutation import Options
from hpcsim.methods.permutation.basis import Strings
from hpcsim.methods.permutation.compile import compile_system
from hpcsim.models import all_to_all_xyz

WORLD = MPI.COMM_WORLD
PARAMS = dict(N=13, Jx=0.6, Jy=1.4, Jz=1.0, decay=1.0, collective_decay=0.3)
EVEN_ODD = all_to_all_xyz.build(all_to_all_xyz.Params(**PARAMS))
LIGHT = [{"name": "light", "lowering": {"sum": "S-"}}]
FIELD = all_to_all_xyz.build(all_to_all_xyz.Params(**PARAMS, field=0.2, field_angle=0.1))


def run(system, comm, record, **options):
    return permutation.run(system, Options(**options), record, Context(comm, (0, 0), lambda: False))


@pytest.mark.parametrize(
    "system, record, options",
    [
        (EVEN_ODD, 1, dict(susceptibility=True, solver="direct")),
        (FIELD, 0, dict(solver="direct")),
        (EVEN_ODD, 1, dict(solver="iterative")),
        (FIELD, 0, dict(solver="iterative")),
        (EVEN_ODD, 1, dict(task="spectrum")),
        (EVEN_ODD, -1, dict(task="spectrum")),
        (FIELD, 0, dict(task="spectrum")),
        (EVEN_ODD, 0, dict(task="evolve", initial=(0.5, 0.25), times=[0.0, 0.4, 2.0])),
        (EVEN_ODD, 0, dict(task="evolve", initial=(0.5, 0.25), times=[0.4, 2.0], integrator="taylor")),
        (EVEN_ODD, 1, dict(task="correlation", functions=LIGHT, times=[0.0, 0.5], tolerance=1e-12)),
        (FIELD, 0, dict(task="emission", functions=LIGHT, frequencies=[0.0, 1.0], tolerance=1e-11)),
    ],
    ids=[
        "steady",
        "steady in a field",
        "iterative",
        "iterative in a field",
        "even",
        "odd",
        "all",
        "evolve",
        "taylor",
        "correlation",
        "emission",
    ],
)
def test_results_are_the_same_on_all_ranks_and_on_one(system, record, options):
    alone, together = run(system, MPI.COMM_SELF, record, **options), run(system, WORLD, record, **options)
    for name in alone:
        assert np.allclose(together[name], alone[name], rtol=1e-9, atol=1e-9), name
    for name, value in together.items():
        mine = np.asarray(value).tobytes()
        assert WORLD.allgather(mine) == [mine] * WORLD.size, name


def test_every_rank_assembles_its_own_rows_only():
    sector = Strings(13, 1, compile_system(EVEN_ODD))
    start, stop = solvers.row_range(WORLD, sector.size)
    parts = WORLD.allgather(sector.rows(start, stop))
    whole = sector.rows(0, sector.size)
    assert sum(part.nnz for part in parts) == whole.nnz
    assert np.array_equal(np.vstack([part.toarray() for part in parts]), whole.toarray())
