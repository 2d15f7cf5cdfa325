"""Steady states that are not unique are refused, with what is conserved, and those that are unique are not."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from conftest import mpirun
from mpi4py import MPI
from scipy import linalg

from hpcsim import cli, solvers
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import Options, uniqueness
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.models import all_to_all_xyz, cavity_dimer, collective_spin, gain_loss_lattice, spin_network
from hpcsim.system import Parity, matrices
from hpcsim.system.conserved import conserved

CONTEXT = Context(MPI.COMM_SELF, (0, 0), lambda: False)
XYZ = {"Jx": 0.6, "Jy": 1.1, "Jz": 0.3}


def network(sites=3, **more):
    return spin_network.build(spin_network.Params(sites=sites, **{**XYZ, "Jz": 0.3, "periodic": False, **more}))


def all_to_all(N, **more):
    return all_to_all_xyz.build(all_to_all_xyz.Params(N=N, Jx=0.6, Jy=1.2, Jz=1, **more))


def cavities(**more):
    return cavity_dimer.build(
        cavity_dimer.Params(**{"S": 0.5, "detuning": 3, "Gc": 0.5, "G": 0.3, "decay_a": 1, "decay_b": 0.8, **more})
    )


def declared(system, *symmetries):
    return replace(system, symmetries=symmetries)


# a free spin of which all rotations by π are declared: its three conserved components are in other sectors
FREE_SPIN = declared(
    network(edges=[[0, 1]], decay=(0.5, 0, 0), gain=(0.5, 0, 0)),
    Parity("z"),
    Parity("x"),
)
SHOWN = {  # by the tables
    "closed": (network(), "no dissipation acts on the system"),
    "a free spin": (network(edges=[[0, 1]], decay=(0.5, 0.2, 0)), "no dissipation acts on site 2"),
    "a free spin, parities": (FREE_SPIN, "no dissipation acts on site 2"),
    "two free spins": (network(4, edges=[[0, 1], [2, 3]], decay=(0.5, 0.2, 0, 0)), "acts on sites 2, 3"),
    "dephasing": (network(dephasing=0.4), r"commute with exp\(iπ Σ Sz\) of all sites"),
    "dephasing along z in one part": (
        network(4, edges=[[0, 1], [2, 3]], dephasing=(0.5, 0.2, 0, 0.1), field_z=0.3),
        r"exp\(iπ Σ Sz\) of sites 0, 1",
    ),
    "odd number of spins": (all_to_all(3, dephasing=1), r"exp\(iπ Σ Sz\)"),
    "even number of spins": (all_to_all(4, dephasing=1), r"exp\(iπ Σ Sz\)"),
    "collective decay": (all_to_all(3, collective_decay=1), "sites 0 and 1 are exchanged"),
    "decay in the middle": (network(decay=(0, 1, 0)), "sites 0 and 2 are exchanged"),
    "a dephased spin": (collective_spin.build(collective_spin.Params(S=1, dephasing=1)), "Sz"),
    "cavities without loss": (cavities(decay_a=0, decay_b=0), "no dissipation"),
}
UNSEEN = {  # by the tables: two dark states, and the coherences between them
    "dark states": network(Jx=1, Jy=1, Jz=0, edges=[[0, 1, 0.7], [1, 2, 1.3]], decay=(0, 1, 0)),
}
UNIQUE = {
    "decay": network(decay=0.5),
    "decay at one end": network(decay=(0.5, 0, 0)),
    "dephasing in a field across": network(dephasing=0.4, field_x=(0.3, 0, 0.1)),
    "dephasing of one site in a field": network(dephasing=(0.4, 0, 0), field_x=0.2),
    "weak decay": network(dephasing=0.4, decay=(1e-8, 0, 0)),
    "a weak field": network(dephasing=0.4, field_x=(1e-5, 0, 0)),
    "loss on one site of two": gain_loss_lattice.build(gain_loss_lattice.Params(S=1, gain=0, loss=1)),
    "collective and local decay": all_to_all(3, collective_decay=1, decay=0.1),
    "cavities": cavities(),
    "a decaying spin 1/2": collective_spin.build(collective_spin.Params(S=0.5, decay=1)),
    "unequal": network(2, S=1, decay=(0.4, 0), dephasing=(0, 0.2), field_x=(0, 0.3)),
}
params = pytest.mark.parametrize


def kernel(system):
    """How many eigenvalues of the Liouvillian are zero, by the rank of its dense matrix."""
    L = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    values = linalg.svdvals(L)
    return int(np.sum(values <= 1e-13 * values[0]))


def steady_state(system):
    return liouvillian.run(system, Options(), HOME, CONTEXT)


@params("system, reason", SHOWN.values(), ids=SHOWN)
def test_what_the_tables_show_is_refused_before_anything_is_computed(system, reason):
    assert kernel(system) > 1
    for task in ("steady_state", "gap"):
        with pytest.raises(ValueError, match=f"method.task = {task}: the steady state is not unique.*{reason}"):
            liouvillian.records(system, Options(task=task))


@params("system", [system for system, _ in SHOWN.values()] + [*UNSEEN.values()], ids=[*SHOWN, *UNSEEN])
def test_what_is_not_unique_is_noticed_in_any_sector(system):
    assert kernel(system) > 1
    with pytest.raises(solvers.NotUnique, match="not unique") as caught:
        steady_state(system)
    assert caught.value.status == 2


@params(
    "system, sector, parts",
    [(all_to_all(3, dephasing=1), "parity = 2", "4 and 4"), (FREE_SPIN, "parity = 2", "4 and 4")],
    ids=["odd number of spins", "a free spin"],
)
def test_a_second_zero_in_another_sector_is_named(system, sector, parts):
    """The sector of the steady state itself has one zero only."""
    home = Sector(operators(system), HOME)
    x, _ = solvers.steady_state(MPI.COMM_SELF, home, {})
    with pytest.raises(solvers.NotUnique, match=f"second one in the sector k = 0, {sector}.*never connect {parts}"):
        uniqueness.check(MPI.COMM_SELF, home, x)


@params("system", UNIQUE.values(), ids=UNIQUE)
def test_what_is_unique_is_not_refused(system):
    assert conserved(system) is None
    assert steady_state(system)["residual"] < 1e-11


@params("system", [all_to_all(3, dephasing=1), *UNSEEN.values()], ids=["in another sector", "in its own sector"])
def test_a_gap_of_zero_is_refused(system):
    """Whatever record holds the second zero."""
    options = Options(task="gap")
    names = liouvillian.records(system, Options(task="spectrum"))
    with pytest.raises(solvers.NotUnique, match="not unique: a further eigenvalue of sector"):
        for name in names:
            if name.k < 2:
                liouvillian.run(system, options, name, CONTEXT)


def random_system(seed):
    """Spins of random kinds on random bonds, in random fields; each kind of dissipation on some of the sites."""
    random = np.random.default_rng(seed)
    sites = int(random.integers(1, 5))
    bonds = [[i, j, float(random.normal())] for i in range(sites) for j in range(i) if random.random() < 0.6]
    on_some = {
        name: tuple((random.random(sites) < p) * random.normal(size=sites) ** 2)
        for name, p in dict(decay=0.2, gain=0.1, dephasing=0.6).items()
    }
    fields = {f"field_{a}": tuple((random.random(sites) < 0.15) * random.normal(size=sites)) for a in "xyz"}
    J = dict(zip(("Jx", "Jy", "Jz"), random.choice([0.0, 0.7, 1.3], 3).tolist()))
    S = 1.0 if sites <= 2 and random.random() < 0.5 else 0.5
    return network(sites, S=S, edges=bonds, **J, **fields, **on_some)


def test_random_systems_are_refused_where_the_dense_kernel_says_so():
    refused = 0
    for seed in range(60):
        system = random_system(seed)
        expected = kernel(system) > 1
        if conserved(system):
            assert expected, seed
        try:
            steady_state(system)
        except solvers.NotUnique:
            assert expected, seed
            refused += 1
        else:
            assert not expected, seed
    assert 15 < refused < 45


CONFIG = {"model": {"name": "spin_network", "sites": 3, **XYZ}, "method": {"name": "liouvillian"}}


def config_file(folder, **model):
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(CONFIG | {"model": CONFIG["model"] | model}))
    return path


@params("method", ["liouvillian", "trajectories", "permutation", "phase_space", "mean_field"])
def test_without_dissipation_every_method_says_so_in_one_line(tmp_path, capsys, method):
    path = tmp_path / "c.yaml"
    model = {"name": "all_to_all_xyz", "N": 3, "Jx": 0.6, "Jy": 1.2, "Jz": 1.0}
    path.write_text(yaml.safe_dump({"model": model, "method": {"name": method}}))
    assert cli.main(["check", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "method.task = steady_state: the steady state is not unique, because no dissipation" in line


@params("ranks, per_point", [(1, 1), (2, 2), (2, 1)])
def test_what_only_the_solution_shows_ends_in_one_message_on_all_ranks(tmp_path, ranks, per_point):
    path = config_file(tmp_path, Jx=1.0, Jy=1.0, Jz=0.0, edges=[[0, 1, 0.7], [1, 2, 1.3]], decay=[0, 1, 0])
    more = ["--set", f"run.ranks_per_point={per_point}", "--out", tmp_path / "r.h5"]
    done = mpirun(ranks, ["-m", "hpcsim", "run", path, *more], timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("hpcsim: error:")]
    assert len(lines) == 1 and "the steady state is not unique" in lines[0]
