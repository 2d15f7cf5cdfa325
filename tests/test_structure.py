"""What follows from the structure of a system is found once for all points that share it, and for no other."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

import hpcsim
from hpcsim import observables
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import small
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.methods.permutation import compile as permutation
from hpcsim.models import gain_loss_lattice
from hpcsim.run import config
from hpcsim.run.plan import plan
from hpcsim.run.problem import Problem
from hpcsim.system import Cache, Jumps, Parity, System, Terms, Translation, orbits


def dimer(**changes):
    return gain_loss_lattice.build(gain_loss_lattice.Params(**{"S": 2, "gain": 0.3, "loss": 0.5} | changes))


def test_magnitudes_are_no_part_of_the_structure():
    assert dimer().structure == dimer(gain=0.7, loss=0.1).structure
    assert dimer().key != dimer(gain=0.7, loss=0.1).key


@pytest.mark.parametrize(
    "other",
    [
        dimer(gain=0),
        dimer(S=3),
        dimer(g=2.0, h=1.0, cells=2),
        replace(dimer(), sublattices=("b", "a")),
        replace(dimer(), sublattice=np.array([0, 0])),
        replace(dimer(), symmetries=(Translation(np.array([1, 0])),)),
        replace(dimer(), units="MHz"),
    ],
)
def test_all_else_is(other):
    assert dimer().structure != other.structure


def test_systems_share_only_with_those_of_their_structure():
    structures, made = Cache(), []

    def make():
        made.append(1)
        return len(made)

    for system in (dimer(), dimer(gain=0.7), dimer(gain=0), dimer(loss=3.0)):
        system.join(structures)
        system.of_structure("number", make)
    assert len(made) == 2
    assert dimer().of_structure("number", make) == 3  # has joined nothing
    assert [dimer().kept("own", make), dimer().kept("own", make)] == [4, 5]


def test_what_is_kept_does_not_travel():
    system = dimer()
    system.join(Cache())
    orbits(system), system.of_structure("function", lambda: lambda: None)
    received = pickle.loads(pickle.dumps(system))
    assert received.key == system.key and received.structure == system.structure


def counted(monkeypatch, module, name):
    calls, original = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *arguments: calls.append(1) or original(*arguments))
    return calls


def swept(model, method, **axis):
    return plan(
        config.resolve({"model": model, "method": method, "sweep": [{f"model.{k}": v for k, v in axis.items()}]})
    )


@pytest.mark.parametrize(
    "method, model, key",
    [
        ({"name": "liouvillian"}, {"name": "collective_spin", "S": 1, "decay": 1.0}, "drive"),
        ({"name": "permutation"}, {"name": "all_to_all_xyz", "N": 6, "Jx": 0.6, "Jy": 1, "Jz": 1, "decay": 1}, "Jy"),
        (
            {"name": "phase_space", "dt": 0.01, "duration": 10, "trajectories": 16, "batch": 8},
            {"name": "gain_loss_lattice", "S": 5, "loss": 0.5},
            "gain",
        ),
    ],
)
def test_planning_makes_observables_once(method, model, key, monkeypatch):
    calls = counted(monkeypatch, observables, "_plan")
    swept(model, method, **{key: np.linspace(0.7, 0.9, 20).tolist()})
    assert len(calls) == 1


def test_planning_compiles_a_permutation_once_for_each_point(monkeypatch):
    systems = counted(monkeypatch, permutation, "_moves")
    operators = counted(monkeypatch, permutation, "_two_sites")
    model = {"name": "all_to_all_xyz", "N": 6, "Jx": 0.6, "Jy": 1, "Jz": 1, "decay": 1}
    swept(model, {"name": "permutation"}, Jy=np.linspace(0.7, 0.9, 20).tolist())
    assert (len(systems), len(operators)) == (20, 3)


@pytest.mark.parametrize(
    "model, method, key, values",
    [
        ({"name": "collective_spin", "S": 2, "decay": 1, "twist": 0.3}, "liouvillian", "drive", (0.3, 0.0, 0.9, 0.5)),
        ({"name": "gain_loss_lattice", "S": 1, "loss": 0.5}, "liouvillian", "gain", (0.1, 0.5, 0.2)),
        ({"name": "all_to_all_xyz", "N": 6, "Jx": 0.6, "Jy": 1, "Jz": 1, "decay": 1}, "permutation", "Jy", (1, 0, 2)),
    ],
)
def test_points_of_a_sweep_are_what_they_are_alone(model, method, key, values):
    """A point that shares a structure with one before has the same bits as by itself."""
    together = hpcsim.solve(model, method, {f"model.{key}": list(values)})
    for i, value in enumerate(values):
        alone = hpcsim.solve(model, method, {f"model.{key}": [value]})
        for name, variable in alone.data_vars.items():
            assert variable.values[0].tobytes() == together[name].values[i].tobytes(), (name, value)


def test_points_that_differ_in_numbers_share_options_plan_and_functionals():
    points, structures = [{"name": "collective_spin", "S": 1, "decay": 1.0, "drive": x} for x in (0.3, 0.4)], Cache()
    first, second = (Problem(point, {"name": "liouvillian"}, structures=structures) for point in points)
    assert first.options is second.options and first.params != second.params
    plans = [liouvillian._plan(each.system, each.options) for each in (first, second)]
    assert plans[0] is plans[1]
    other = Problem(points[0], {"name": "liouvillian", "observables": ["entropy"]}, structures=structures)
    assert other.options is not first.options and "entropy" in [output.name for output in other.outputs]


RING = {"name": "spin_network", "sites": 4, "Jx": 0.5, "Jz": 1.0, "decay": 1.0}
SPIN = {"name": "collective_spin", "S": 2, "decay": 1.0}


@pytest.mark.parametrize(
    "model, key, value",
    [
        (SPIN, "drive", 0.8),
        (SPIN, "drive", 0.01),  # σ is as good as pure: its uniqueness needs the closer look
        (SPIN | {"dephasing": 0.3}, "drive", 0.0),  # sectors of charge
        (RING, "field_x", 0.7),
        (RING | {"Jx": 1.0}, "field_x", 1.0),  # equal magnitudes
    ],
)
def test_lapack_and_mumps_find_the_same_steady_state(model, key, value):
    sweep = {f"model.{key}": [0.3, value]}
    ours = hpcsim.solve(model, sweep=sweep)
    mumps = hpcsim.solve(model, {"name": "liouvillian", "petsc_options": {"st_mat_mumps_icntl_14": 60}}, sweep)
    for name in ("Sx", "Sy", "Sz", "var_Sx", "purity"):
        assert np.allclose(ours[name], mumps[name], rtol=1e-9, atol=1e-12), name


def test_a_sweep_builds_its_operators_once(monkeypatch):
    built = counted(monkeypatch, small, "operators")
    hpcsim.solve(SPIN, sweep={"model.drive": [0.31 + 0.1 * i for i in range(5)]})
    assert len(built) == 1


def pair(rates, fields=(0.4, 0.4)):
    """Two spins 1/2 that exchange places; jump operators at site 0, 0 and 1."""
    return System(
        np.full(2, 0.5),
        (Terms(("Sx",), np.arange(2)[:, None], np.array(fields)),),
        (Jumps("S-", np.array([0, 0, 1]), np.array(rates)),),
        (Parity(permutation=np.array([1, 0])),),
    )


def test_symmetries_are_looked_at_where_only_the_values_make_them_hold():
    assert small.family_of(pair([1.0, 2.0, 3.0])) is None
    assert np.isfinite(hpcsim.solve(pair([1.0, 2.0, 3.0])).Sx).all()


def test_a_symmetry_that_fails_at_a_later_point_is_noticed():
    structures, holds = Cache(), pair([1.0, 1.0, 2.0])
    holds.join(structures)
    assert Sector(operators(holds), HOME).size
    broken = pair([1.0, 1.0, 2.0], (0.4, 0.5))
    broken.join(structures)
    with pytest.raises(ValueError, match="the model declares Parity"):
        liouvillian.run(broken, liouvillian.Options(), HOME, Context(MPI.COMM_SELF, (1, 2), lambda: False))
