"""Matrix-product density operators of infinite chains: against exact rings, limits, and themselves."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from conftest import mpirun
from mpi4py import MPI
from scipy import sparse
from scipy.sparse.linalg import splu

from hpcsim import cli, store
from hpcsim.methods import Context, Stopped, liouvillian, phase_space
from hpcsim.methods import matrix_product as mp
from hpcsim.methods.matrix_product import chain as chains
from hpcsim.methods.matrix_product.evolve import Evolution
from hpcsim.models import gain_loss_lattice, xyz_lattice
from hpcsim.system import Jumps, System, Terms, Translation, WeakU1, matrices

CONTEXT = Context(MPI.COMM_SELF, (1, 2), lambda: False)


def gain_loss(**keys):
    return gain_loss_lattice.build(gain_loss_lattice.Params(**{"S": 0.5, "cells": 2, "gain": 1.5, "loss": 1.0} | keys))


def xyz(**keys):
    return xyz_lattice.build(
        xyz_lattice.Params(**{"convention": "lee2013", "sites": 4, "Jx": 0.5, "Jy": 0.2, "Jz": 0.4} | keys)
    )


def general_ring(n):
    """Hopping with a phase, decay, incoherent hopping and loss of neighbouring pairs."""
    sites = np.arange(n)
    bonds = np.column_stack([sites, (sites + 1) % n])
    jumps = [Jumps("S-", sites, np.full(n, 0.5)), Jumps(("S+", "S-"), bonds, np.full(n, 0.3))]
    jumps.append(Jumps(("S-", "S-"), bonds[:, ::-1], np.full(n, 0.2)))
    hop = Terms(("S+", "S-"), bonds, np.full(n, 0.4 + 0.7j), plus_hc=True)
    return System(np.full(n, 0.5), (hop,), tuple(jumps), (Translation(bonds[:, 1]), WeakU1()))


def solve(system, **keys):
    return mp.run(system, mp.Options(**{"bond_dimension": 16, "dt": 0.1} | keys), 0, CONTEXT)


def exact(system, name):
    values = [
        liouvillian.run(system, options, record, CONTEXT)[name]
        for options in [liouvillian.Options()]
        for record in liouvillian.records(system, options)
    ]
    return values[0]


def _steady(hamiltonian, jumps):
    """ρ by time evolution in large implicit steps, from Kronecker products alone."""
    size = hamiltonian.shape[0]
    step = splu((sparse.identity(size**2) - 1e3 * matrices.full_liouvillian(hamiltonian, jumps)).tocsc())
    rho = np.eye(size).ravel("F") / size + 0j
    for _ in range(6):
        rho = step.solve(rho)
    return rho.reshape(size, size, order="F")


def infinite(rings):
    """The limit of three values that approach it geometrically."""
    a, b, c = rings
    return c - (c - b) ** 2 / (c - 2 * b + a)


@pytest.fixture(scope="module")
def middle():
    """The strongly mixed phase."""
    return solve(gain_loss(h=0.5), bond_dimension=24, tolerance=1e-6)


SYSTEMS = {
    "gain and loss": gain_loss(h=0.5),
    "xyz": xyz(),
    "complex U(1)": xyz(Jx=0.7, Jy=0.7),
    "alternating U(1)": xyz(Jx=0.7, Jy=-0.7, Jz=0),
    "general": general_ring(4),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_bonds_of_a_ring_add_up_to_its_liouvillian(name):
    system = SYSTEMS[name]
    chain = chains.build(system)
    n, cell = system.sites, len(chain.spins)
    total = np.zeros((4,) * (2 * n), complex)
    for i in range(n):
        rest = sparse.identity(4 ** (n - 2))
        order = [i, (i + 1) % n, *(k for k in range(n) if k not in (i, (i + 1) % n))]
        bond = sparse.kron(chain.liouvillians[i % cell], rest).toarray().reshape((4,) * (2 * n))
        total += bond.transpose([*np.argsort(order), *(n + np.argsort(order))])
    # (ket_i bra_i) of every site to column-stacked ρ
    change = np.eye(1)
    for i in range(n):
        change = np.kron(change, chain.bases[i % cell])
    stacked = np.arange(4**n).reshape((2,) * (2 * n)).transpose([*range(1, 2 * n, 2), *range(0, 2 * n, 2)]).ravel()
    found = (change @ total.reshape(4**n, 4**n) @ change.conj().T)[stacked][:, stacked]
    wanted = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    "name, kind, modulus",
    [("gain and loss", float, 1), ("xyz", float, 2), ("complex U(1)", complex, 1), ("alternating U(1)", float, 1)],
)
def test_what_is_conserved_and_real(name, kind, modulus):
    chain = chains.build(SYSTEMS[name])
    assert chain.modulus == modulus and {matrix.dtype for matrix in chain.liouvillians} == {np.dtype(kind)}


def test_a_symmetry_that_is_none_is_found_out():
    system = xyz()
    with pytest.raises(ValueError, match="declares WeakU1.*does not keep"):
        chains.build(replace(system, symmetries=(WeakU1(), *(s for s in system.symmetries if s.cyclic))))


def test_exact_rings_approach_the_infinite_chain(middle):
    """Rings of 2, 3, 4 cells: within the method's own error, and what the extrapolation may leave."""
    assert middle["at_rest"] == 1
    for name in ("Sz", "var_Sz"):
        rings = [exact(gain_loss(h=0.5, cells=n), name) for n in (2, 3, 4)]
        assert (abs(middle[name] - infinite(rings)) < middle[f"{name}_error"] + 1e-5).all(), name
        assert (abs(middle[name] - rings[0]) > 1e-3).all() and (middle[f"{name}_error"] < 3e-4).all()


def test_xyz_rings_approach_the_infinite_chain():
    found = solve(xyz())
    for name in ("Sz", "var_Sz"):
        rings = [exact(xyz(sites=n), name) for n in (5, 6, 7)]
        assert (abs(found[name] - infinite(rings)) < found[f"{name}_error"] + 2e-5).all(), name
        assert (abs(found[name] - rings[0]) > 5e-4).all() and (found[f"{name}_error"] < 5e-4).all()
    assert found["Sx"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("g, h", [(1.0, 0.0), (0.0, 1.0)])
def test_uncoupled_dimers_are_exact(g, h):
    """Wherever the couplings are: in a cell or between two."""
    found = solve(gain_loss(S=1, g=g, h=h, loss=0.6), bond_dimension=18)
    dimer = gain_loss(S=1, cells=1, g=1.0, loss=0.6)
    for name in ("Sz", "var_Sz", "var_Sx", "S_perp", "Mz"):
        np.testing.assert_allclose(found[name], exact(dimer, name), atol=3e-6)
    assert np.allclose(found["correlation"][:, 1:], 0, atol=1e-12)
    np.testing.assert_allclose(found["correlation_zz"][:, 1:], (found["Sz"] ** 2)[:, None].repeat(8, 1), atol=1e-10)
    purity = exact(dimer, "purity")
    assert found["renyi2"] == pytest.approx(-np.log(purity) / 2, abs=1e-5)


def test_one_spin_alone_is_exact():
    """⟨Sz⟩ of gain alone: all up; a pure product state, of entropy 0."""
    found = solve(gain_loss(g=0.0, h=0.0))
    np.testing.assert_allclose(found["Sz"], [0.5, -0.5], atol=1e-5)
    assert abs(found["renyi2"]) < 1e-4 and found["operator_entropy"] < 1e-10


def test_charges_change_nothing(middle):
    system = gain_loss(h=0.5)
    bare = replace(system, symmetries=tuple(s for s in system.symmetries if s.cyclic))
    assert chains.build(bare).modulus is None
    found = solve(bare, bond_dimension=24, tolerance=1e-6)
    # which of equal singular values are kept depends on the BLAS, and so do results, within the error that is stated
    for name in ("Sz", "var_Sz", "var_Sx", "correlation", "asymptotic_length", "renyi2", "operator_entropy"):
        assert np.all(abs(found[name] - middle[name]) <= 1e-6 + middle[f"{name}_error"]), name


def test_the_error_covers_what_is_left_out(middle):
    rough = solve(gain_loss(h=0.5), bond_dimension=8, dt=0.2)
    for name in ("Sz", "var_Sz"):
        assert (abs(rough[name] - middle[name]) < rough[f"{name}_error"] + middle[f"{name}_error"]).all(), name
    assert rough["error_bond_dimension"] > 4 * middle["error_bond_dimension"]
    order = np.log2(rough["error_time_step"] / middle["error_time_step"])
    assert order == pytest.approx(2, abs=0.5)  # of the Trotter steps, plus terms of order dt⁴
    assert rough["truncation_error"] > middle["truncation_error"] > 0


def test_what_is_extrapolated_in_the_time_step_is_better_than_its_error(middle):
    coarse = solve(gain_loss(h=0.5), bond_dimension=24, dt=0.2, tolerance=1e-6)
    assert abs(coarse["Sz"] - middle["Sz"]).max() < 0.5 * coarse["error_time_step"]
    assert coarse["error_time_step"] > 1e-4


def test_it_is_a_density_matrix(middle):
    assert middle["hermiticity"] < 1e-5 and middle["least_probability"] > 0
    assert 0 < middle["renyi2"] < np.log(2)
    np.testing.assert_allclose(middle["correlation"][:, 0], 0.5 + middle["Sz"], atol=1e-10)  # S+S- of a spin 1/2
    np.testing.assert_allclose(middle["correlation_zz"][:, 0], 0.25, atol=1e-10)


def test_correlations_decay_with_the_correlation_length(middle):
    ratio = middle["correlation"][:, 5] / middle["correlation"][:, 4]
    np.testing.assert_allclose(ratio, np.exp(-1 / middle["asymptotic_length"]), rtol=0.02)


def test_correlations_of_neighbouring_cells_are_those_of_an_exact_ring():
    """On a ring of three cells a neighbour is the second neighbour too, the other way round."""
    system = gain_loss(h=0.15, loss=0.5, cells=3)
    found, rho = solve(system), _steady(matrices.hamiltonian(system), matrices.jump_operators(system))
    for name, a, b in ("correlation", "S+", "S-"), ("correlation_xx", "Sx", "Sx"):
        for place in range(2):
            product = matrices.site_operator(system, a, place) @ matrices.site_operator(system, b, place + 2)
            both = found[name][place, 1] + found[name][place, 2]
            assert both == pytest.approx((product @ rho).trace().real, rel=0.02) and abs(both) > 1e-3, (name, place)


def test_an_ordered_phase_of_larger_spins_is_that_of_the_phase_space_method():
    """Up-down, deep enough for phase space to be good to 1.5 % at S = 3/2."""
    keys = {"S": 1.5, "h": 0.5, "loss": 4.0}
    found = solve(gain_loss(**keys), bond_dimension=12, dt=0.2, tolerance=1e-4)
    system = gain_loss(cells=12, **keys)
    options = phase_space.Options(burn_in=20, duration=40, trajectories=64, batch=32)
    batches = [phase_space.run(system, options, record, CONTEXT)["Sz"] for record in (0, 1)]
    np.testing.assert_allclose(found["Sz"] / 1.5, np.mean(batches, axis=0) / 1.5, atol=0.015)
    assert found["Sz"][0] > 1.2 and found["Sz"][1] < -1.3


@pytest.mark.parametrize(
    "system, words",
    [
        (gain_loss(cells=1), "at least two cells"),
        (gain_loss(periodic=False), "periodic: true"),
        (gain_loss(cells=(2, 4)), "neighbours of one chain"),
        (gain_loss(S=5), "11 levels"),
        (xyz(sites=2), "three sites"),
    ],
)
def test_what_is_refused(system, words):
    assert words in mp.supports(system)


def test_a_chain_that_is_not_the_same_everywhere_is_refused():
    system = gain_loss(h=0.5)
    system.jumps[0].rates[1] = 2
    assert "not the same after 2 sites" in mp.supports(system)


def test_it_stops_when_asked():
    answers = iter([False] * 3 + [True])
    with pytest.raises(Stopped):
        mp.run(gain_loss(h=0.5), mp.Options(), 0, Context(MPI.COMM_SELF, (1, 2), lambda: next(answers)))
    assert not list(answers)


CONFIG = """
title: two phases
model: {name: gain_loss_lattice, S: 0.5, cells: 2, h: 0.5, gain: 1.5, loss: 1.0}
method: {name: matrix_product, bond_dimension: 6, dt: 0.1, tolerance: 1e-4}
sweep: [{model.loss: [0.5, 2.0]}]
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.yaml").write_text(CONFIG)
    return "two.yaml"


def results(name):
    assert cli.main(["collect", f"{name}.collected.h5", f"{name}.h5"]) == 0
    return {key: variable.values for key, variable in store.load(f"{name}.collected.h5").variables.items()}


def test_resumed_runs_and_shared_records_give_the_same_bits(config, monkeypatch):
    advance, calls = Evolution.advance, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        advance(self, *arguments)

    monkeypatch.setattr(Evolution, "advance", interrupted)
    assert cli.main(["run", config, "--out", "serial.h5"]) == 75 and len(calls) == 3
    monkeypatch.setattr(Evolution, "advance", advance)
    assert cli.main(["run", config, "--out", "serial.h5"]) == 0
    done = mpirun(2, ["-m", "hpcsim", "run", config, "--out", "shared.h5", "--set", "run.ranks_per_point=2"])
    assert done.returncode == 0, done.stderr
    serial, shared = results("serial"), results("shared")
    assert serial.keys() == shared.keys() and not np.isnan(serial["Sz"]).any()
    for name in serial:
        np.testing.assert_array_equal(serial[name], shared[name], err_msg=name)
