"""What every method must do: these tests run over all methods found, a new one included.

The exact reference is built here from Kronecker products alone, independent of hpcsim.system.matrices.
"""

import dataclasses
import functools
import importlib
import pkgutil

import numpy as np
import pytest
import scipy.sparse as sp
from mpi4py import MPI
from scipy.sparse.linalg import spsolve

import hpcsim.methods
from hpcsim import observables
from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Context, Cost
from hpcsim.models import all_to_all_xyz, collective_spin, gain_loss_lattice
from hpcsim.system import Jumps, Parameters, System, Terms

METHODS = {
    m.name: importlib.import_module(f"hpcsim.methods.{m.name}") for m in pkgutil.iter_modules(hpcsim.methods.__path__)
}
SYSTEMS = {
    "dimer": gain_loss_lattice.build(gain_loss_lattice.Params(S=4, gain=0.6, loss=0.4)),
    "driven spin": collective_spin.build(collective_spin.Params(S=10, drive=2.0, decay=1.0)),
    "half spins": gain_loss_lattice.build(gain_loss_lattice.Params(S=0.5, cells=2, h=0.5, gain=0.6, loss=0.4)),
    "all to all": all_to_all_xyz.build(all_to_all_xyz.Params(N=4, Jx=0.6, Jy=1.4, Jz=1, decay=1, field=0.3)),
}
# Where a method that declares an `approximation` is held against the exact Liouvillian, and how close it must be,
# in units of S and S²: some more than was found, and a quarter of what twice as many excitations would make
LIMITS = {
    "gaussian": (gain_loss_lattice.build(gain_loss_lattice.Params(S=4, gain=4, loss=3)), 2.5e-3),
    "matrix_product": (gain_loss_lattice.build(gain_loss_lattice.Params(S=1, cells=2, h=0, gain=0.6, loss=0.4)), 2e-6),
    "mean_field": (collective_spin.build(collective_spin.Params(S=0.5, drive=0.7, decay=1, dephasing=0.2)), 1e-8),
}
# What a method leaves out besides its standard error, in units of S and S²: a relative order 1/S², less than the whole
TRUNCATED = {"phase_space": lambda S: min(0.5 / S**2, 0.3)}
CONTEXT = Context(MPI.COMM_SELF, (12, 34), lambda: False)
cases = pytest.mark.parametrize("name", METHODS)


@functools.cache
def exact(system_name):
    return exact_moments(SYSTEMS[system_name])


def exact_moments(system):
    """Sublattice averages of Sx, Sy, Sz and their variances in the exact steady state."""
    one = [_spin(S) for S in system.spins]
    dims = [len(site["Sz"]) for site in one]

    def at(i, name):
        factors = [sp.identity(d) for d in dims]
        factors[i] = sp.csr_matrix(one[i][name])
        return functools.reduce(sp.kron, factors).tocsr()

    D = int(np.prod(dims))
    H = sp.csr_matrix((D, D), dtype=complex)
    for terms in system.hamiltonian:
        for sites, c in zip(terms.sites, terms.coefficients):
            H = H + c * functools.reduce(sp.csr_matrix.dot, [at(i, o) for i, o in zip(sites, terms.operators)])
    unit = sp.identity(D)
    L = -1j * (sp.kron(H, unit) - sp.kron(unit, H.T))  # row-major vec: vec(AρB) = (A ⊗ Bᵀ) vec ρ
    for jumps in system.jumps:
        assert not jumps.collective
        for i, rate in zip(jumps.sites, jumps.rates):
            c = at(i, jumps.operator)
            n = c.conj().T @ c
            L = L + rate * (sp.kron(c, c.conj()) - sp.kron(n, unit) / 2 - sp.kron(unit, n.T) / 2)
    L = L.tolil()
    L[0] = sp.identity(D).reshape(1, D * D)  # the trace replaces one of the dependent rows
    rho = spsolve(L.tocsc(), np.eye(D * D)[0].astype(complex)).reshape(D, D)
    result = {}
    for name in ("Sx", "Sy", "Sz"):
        site = [
            (np.trace(at(i, name) @ rho).real, np.trace(at(i, name) @ at(i, name) @ rho).real)
            for i in range(system.sites)
        ]
        mean, square = np.array(site).T
        lattice = [system.sublattice == s for s in range(len(system.sublattices))]
        result[name] = np.array([mean[where].mean() for where in lattice])
        result["var_" + name] = np.array([(square - mean**2)[where].mean() for where in lattice])
    return result


def _spin(S):
    m = S - np.arange(int(2 * S + 1))
    up = np.diag(np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1)), 1)
    return {"Sz": np.diag(m), "S+": up, "S-": up.T, "Sx": (up + up.T) / 2, "Sy": (up - up.T) / 2j}


def computed(method, system, order=1):
    """Reduced outputs of one point, its records run in order or in reverse."""
    options = method.Options()
    records = method.records(system, options)
    arrays = [method.run(system, options, record, CONTEXT) for record in records[::order]][::order]
    reduced = {}
    for output in method.outputs(system, options):
        value, error = observables.reduced(output, lambda name: np.stack([a[name] for a in arrays]))
        reduced[output.name] = value
        if output.reduce in AVERAGED:
            reduced[output.name + "_stderr"] = error
    return reduced, arrays


@cases
@pytest.mark.parametrize("system_name", SYSTEMS)
def test_the_default_task_is_the_steady_state_and_agrees_with_the_exact_liouvillian(name, system_name):
    method, system = METHODS[name], SYSTEMS[system_name]
    if method.supports(system) is not None:
        assert isinstance(method.supports(system), str)
        return
    if hasattr(method, "approximation"):
        return  # see test_an_approximation_is_close_in_its_limit
    values, _ = computed(method, system)
    S = system.spins[0]
    for output, expected in exact(system_name).items():
        scale = S if output[:3] != "var" else S**2
        error = values.get(output + "_stderr")
        allowed = 1e-8 * scale if error is None else 4 * error + TRUNCATED.get(name, lambda S: 1e-8)(S) * scale
        assert (abs(values[output] - expected) <= allowed).all(), (output, values[output], expected, error)
        assert error is None or (error < 0.05 * scale).all()


@pytest.mark.parametrize("name", [name for name in METHODS if hasattr(METHODS[name], "approximation")])
def test_an_approximation_is_close_in_its_limit(name):
    system, bound = LIMITS[name]
    assert len(METHODS[name].approximation) > 10
    values, _ = computed(METHODS[name], system)
    for output, expected in exact_moments(system).items():
        scale = system.spins[0] ** (2 if output.startswith("var") else 1)
        assert (abs(values[output] - expected) <= bound * scale).all(), (output, values[output], expected)


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
    forward, arrays = computed(method, system)
    backward, _ = computed(method, system, order=-1)
    for key in forward:
        assert np.asarray(forward[key]).tobytes() == np.asarray(backward[key]).tobytes(), key
    outputs = {o.name: o for o in method.outputs(system, method.Options())}
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
