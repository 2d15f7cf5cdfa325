"""What every method must do: these tests run over all methods found, a new one included.

The exact reference is that of reference.py and exact.py, independent of the package.
"""

import dataclasses
import functools
import importlib
import pkgutil

import numpy as np
import pytest
import reference
from exact import along, moments, product, reduced, squeezing, whole
from mpi4py import MPI

import hpcsim.methods
from hpcsim import observables
from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Context, Cost
from hpcsim.models import all_to_all_xyz, collective_spin, gain_loss_lattice
from hpcsim.system import Jumps, Parameters, System, Terms, Translation

METHODS = {
    m.name: importlib.import_module(f"hpcsim.methods.{m.name}") for m in pkgutil.iter_modules(hpcsim.methods.__path__)
}


def several(operators, sites, coefficients):
    return Terms(tuple(operators), np.array(sites), np.array(coefficients, float))


def unequal(spins):
    """Different spins in a row with different couplings, fields and rates: no symmetry at all."""
    n = len(spins)
    scale, bonds = 2 * np.array(spins), [[i, i + 1] for i in range(n - 1)]
    return System(
        spins=np.array(spins),
        hamiltonian=(
            several(["Sx"], [[i] for i in range(n)], [0.9, -0.6, 0.7][:n]),
            several(["Sz"], [[i] for i in range(n)], [0.3, 0.8, -0.4][:n]),
            *(several([a, a], bonds, J / scale[:-1]) for a, J in zip(("Sx", "Sy", "Sz"), (0.7, -0.5, 0.3))),
        ),
        jumps=(
            Jumps("S-", np.arange(n), np.array([0.9, 0.5, 0.7][:n]) / scale),
            Jumps("S+", np.arange(n), np.array([0.1, 0.05, 0.2][:n]) / scale),
            Jumps("Sz", np.array([0]), np.array([0.1])),
        ),
        sublattice=np.arange(n) % 2,
        sublattices=("a", "b"),
    )


SYSTEMS = {
    "dimer": gain_loss_lattice.build(gain_loss_lattice.Params(S=3, gain=0.6, loss=0.4)),
    "driven spin": collective_spin.build(collective_spin.Params(S=10, drive=2.0, decay=1.0)),
    "half spins": gain_loss_lattice.build(gain_loss_lattice.Params(S=0.5, cells=2, h=0.5, gain=0.6, loss=0.2)),
    "all to all": all_to_all_xyz.build(all_to_all_xyz.Params(N=4, Jx=0.6, Jy=1.4, Jz=1, decay=1, field=0.3)),
    "tilted spin": System(
        spins=np.array([10.0]),
        hamiltonian=(several(["Sx"], [[0]], [1.0]), several(["Sz"], [[0]], [0.7])),
        jumps=(Jumps("S-", np.array([0]), np.array([0.1])),),
    ),
    "unequal halves": unequal([0.5, 0.5, 0.5]),
    "unequal spins": unequal([2.0, 3.0]),
}
# Where a method that declares an `approximation` is held against the exact Liouvillian, and how close it must be,
# in units of S and S²: some more than was found, and a quarter of what twice as many excitations would make
LIMITS = {
    "gaussian": (gain_loss_lattice.build(gain_loss_lattice.Params(S=4, gain=4, loss=3)), 2.5e-3),
    "matrix_product": (gain_loss_lattice.build(gain_loss_lattice.Params(S=1, cells=2, h=0, gain=0.6, loss=0.4)), 2e-6),
    "mean_field": (collective_spin.build(collective_spin.Params(S=0.5, drive=0.7, decay=1, dephasing=0.2)), 1e-8),
}
# What phase_space leaves out besides its standard error, as a part of the largest element of an output (of a tenth of
# its scale where that is larger; twice as much for squeezing, a quotient): large at S = 1/2, as the method says itself
TRUNCATED = {
    "dimer": 0.02,
    "driven spin": 0.02,
    "half spins": 0.2,
    "all to all": 0.5,
    "tilted spin": 0.02,
    "unequal halves": 0.25,
    "unequal spins": 0.05,
}
SMALL = 0.04  # of its scale: an average that the few trajectories here need not tell from zero
# Records enough that the standard errors tell a value from twice that
OPTIONS = {
    "trajectories": {"trajectories": 64, "batch": 1, "burn_in": 100, "duration": 50},
    "phase_space": {"trajectories": 512, "batch": 16, "burn_in": 100, "duration": 50},
}
FEW = {"matrix_product": {"bond_dimension": 4, "tolerance": 1e-2}}  # where the numbers do not matter
CONTEXT = Context(MPI.COMM_SELF, (12, 34), lambda: False)
cases = pytest.mark.parametrize("name", METHODS)


@functools.cache
def exact(system_name):
    return exact_outputs(SYSTEMS[system_name])


def asked(system) -> list:
    """Observables beside the default ones."""
    last = system.sites - 1
    found = [
        "squeezing",
        "entropy",
        "renyi2",
        "Sx_0",
        {"name": "edge", "product": [["Sz", 0], ["Sx", last]]},
        {"name": "weighted", "sum": "Sz", "weights": np.linspace(1, 0.4, system.sites).tolist()},
        {"name": "rho_0", "reduced": [0]},
        {"name": "purity_0", "purity": [0]},
    ]
    return found + ["correlation", "structure_factor", "Sx_Sy"] * bool(steps(system))


def steps(system) -> list:
    return [symmetry.permutation for symmetry in system.symmetries if isinstance(symmetry, Translation)]


def exact_outputs(system):
    """Everything that a method may deliver of the steady state and that has an exact value."""
    rho, last = reference.steady_state(system), system.sites - 1
    total = [sum(reference.on_site(system, f"S{a}", i) for i in range(system.sites)) for a in "xyz"]
    first = reduced(system, rho, [0])
    found = moments(system, rho) | whole(system, rho)
    if np.linalg.norm([np.trace(J @ rho) for J in total]) > 1e-9:
        found["squeezing"] = squeezing(total, rho, system.spins.sum())
    z = [np.trace(reference.on_site(system, "Sz", i) @ rho).real for i in range(system.sites)]
    return found | {
        "Sx_0": np.trace(reference.on_site(system, "Sx", 0) @ rho).real,
        "edge": np.trace(product(system, ("Sz", 0), ("Sx", last)) @ rho),
        "weighted": np.linspace(1, 0.4, system.sites) @ z,
        "rho_0": first,
        "purity_0": np.trace(first @ first).real,
        **(along(system, rho, *steps(system)) if steps(system) else {}),
    }


def scale_of(output, system) -> float:
    """The largest value that an output might have."""
    S = system.spins.max()
    linear = {"Sx": S, "Sy": S, "Sz": S, "Sx_0": S, "S_perp": S, "weighted": S * system.sites}
    quadratic = ("var", "correlation", "structure", "edge", "Sx_Sy")
    return linear.get(output, S**2 if output.startswith(quadratic) else 1.0)


def computed(method, system, order=1, **values):
    """Reduced outputs of one point, its records run in order or in reverse."""
    options = method.Options(**values)
    records = method.records(system, options)
    arrays = [method.run(system, options, record, CONTEXT) for record in records[::order]][::order]
    found = {}
    for output in method.outputs(system, options):
        value, error = observables.reduced(output, lambda name: np.stack([a[name] for a in arrays]))
        found[output.name] = value
        if output.reduce in AVERAGED:
            found[output.name + "_stderr"] = error
    return found, arrays


def delivered(method, system, values) -> list:
    """The observables in `asked` that a method does not refuse."""
    found = []
    for item in asked(system):
        try:
            method.records(system, method.Options(**values, observables=[item]))
            found.append(item)
        except ValueError as error:
            assert str(error).startswith("method.observables: ")
    return found


@functools.cache
def compared(name, system_name):
    """{output: (found, exact, allowed difference)} of all outputs with a reference."""
    method, system = METHODS[name], SYSTEMS[system_name]
    values = OPTIONS.get(name, {})
    values = values | {"observables": delivered(method, system, values)}
    found, _ = computed(method, system, **values)
    result = {}
    for output, expected in exact(system_name).items():
        if output in found:
            scale, error = scale_of(output, system), found.get(output + "_stderr")
            left_out = truncated(output, system_name, expected) if name == "phase_space" else 0.0
            allowed = np.asarray(1e-8 * scale + left_out + (0 if error is None else 4 * error))
            result[output] = found[output], np.asarray(expected), allowed
    return result


def truncated(output, system_name, expected) -> float:
    share = TRUNCATED[system_name] * (2 if output == "squeezing" else 1)
    return share * max(np.abs(expected).max(), 0.1 * scale_of(output, SYSTEMS[system_name]))


def agrees(found, expected, allowed) -> bool:
    return found.shape == expected.shape and bool((abs(found - expected) <= allowed).all())


EXACT = [name for name in METHODS if not hasattr(METHODS[name], "approximation")]


@pytest.mark.parametrize("system_name", SYSTEMS)
@pytest.mark.parametrize("name", EXACT)
def test_the_default_task_is_the_steady_state_and_agrees_with_the_exact_liouvillian(name, system_name):
    if (reason := METHODS[name].supports(SYSTEMS[system_name])) is not None:
        assert isinstance(reason, str)
        return
    for output, (found, expected, allowed) in compared(name, system_name).items():
        assert agrees(np.asarray(found), expected, allowed), (output, found, expected, allowed)


@pytest.mark.parametrize("factor", [2.0, -1.0])
@pytest.mark.parametrize("name", EXACT)
def test_every_output_is_told_from_a_wrong_one(name, factor):
    """In every system where it is not zero by symmetry, or small for an ensemble; and in one at least."""
    told = {}
    for system_name, system in SYSTEMS.items():
        if METHODS[name].supports(system) is None:
            crude = name == "phase_space" and TRUNCATED[system_name] >= 0.1
            small = SMALL if name in OPTIONS else 1e-9
            for output, (found, expected, allowed) in compared(name, system_name).items():
                seen = not agrees(factor * np.asarray(found), expected, allowed)
                told.setdefault(output, []).append(seen)
                assert seen or crude or np.abs(expected).max() < small * scale_of(output, system), (output, system_name)
    assert {"Sx", "Sy", "Sz", "var_Sx", "var_Sy", "var_Sz", "S_perp", "Mz", "squeezing", "edge", "Sx_0"} <= told.keys()
    assert not [output for output in told if not any(told[output])]


@pytest.mark.parametrize("name", [name for name in METHODS if hasattr(METHODS[name], "approximation")])
def test_an_approximation_is_close_in_its_limit(name):
    system, bound = LIMITS[name]
    assert len(METHODS[name].approximation) > 10
    values, _ = computed(METHODS[name], system)
    for output, expected in exact_outputs(system).items():
        if output not in values or output.startswith("correlation") or output in whole(system, np.eye(1)):
            continue  # an infinite chain has other distances, and a mean field no state of the whole
        allowed = bound * scale_of(output, system)
        assert (abs(values[output] - expected) <= allowed).all(), (output, values[output], expected)
        if np.abs(expected).max() > 2 * allowed:
            for factor in (2, -1):
                assert (abs(factor * values[output] - expected) > allowed).any(), output


@cases
def test_the_six_names(name):
    method = METHODS[name]
    assert issubclass(method.Options, Parameters) and method.Options.model_config["frozen"]
    for function in ("supports", "records", "cost", "outputs", "run"):
        assert callable(getattr(method, function)) and getattr(method, function).__doc__


@cases
def test_records_are_independent_and_return_what_outputs_says(name):
    method = METHODS[name]
    system = next(system for system in SYSTEMS.values() if method.supports(system) is None)
    few = FEW.get(name, {})
    forward, arrays = computed(method, system, **few)
    backward, _ = computed(method, system, order=-1, **few)
    for key in forward:
        assert np.asarray(forward[key]).tobytes() == np.asarray(backward[key]).tobytes(), key
    outputs = {o.name: o for o in method.outputs(system, method.Options(**few))}
    stored = {o for o in outputs if outputs[o].stored}
    for record in arrays:
        assert set(record) == stored
        for key, value in record.items():
            value = np.asarray(value)
            assert value.shape == tuple(len(d.values) for d in outputs[key].dims), key
            assert np.can_cast(value.dtype, outputs[key].dtype), key
    names = {d.name for output in outputs.values() for d in output.dims}
    assert not names & set(outputs), "an output with the name of a dimension cannot be collected"
    for output in outputs.values():
        assert output.long_name and output.units and set(output.sources) <= set(outputs)


@cases
def test_cost_is_known_before_running(name):
    method = METHODS[name]
    for system in SYSTEMS.values():
        if method.supports(system) is None:
            options = method.Options()
            for record in method.records(system, options):
                cost = method.cost(system, options, record)
                assert isinstance(cost, Cost) and 0 < cost.bytes < 1e9 and 0 < cost.time < 600


@cases
def test_what_is_not_supported_has_a_reason(name):
    """No method multiplies three different operators on three sites with a jump on a fourth kind."""
    odd = System(
        spins=np.full(4, 1e4),
        hamiltonian=(Terms(("Sx", "Sy", "Sz"), np.array([[0, 1, 2]]), np.ones(1)),),
        jumps=(Jumps("Sx", np.arange(4), np.ones(1), collective=True),),
    )
    assert len(METHODS[name].supports(odd)) > 10


@pytest.mark.parametrize("system_name", SYSTEMS)
def test_systems_are_frozen_data(system_name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        SYSTEMS[system_name].spins = None
