"""Operators and the full-space Liouvillian of small systems, against numpy and QuTiP."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import require_module
from scipy.linalg import expm

from hpcsim.models import collective_spin, gain_loss_lattice
from hpcsim.system import (
    BOSON_OPERATORS,
    HERMITIAN_OPERATORS,
    SPIN_OPERATORS,
    Jumps,
    Parity,
    System,
    Terms,
    Translation,
    Transposition,
    WeakU1,
    charge_weights,
    charges,
    coherent_state,
    matrices,
    transposition,
)
from hpcsim.system.operators import OPERATORS, local_operator


def dimer(**change):
    return gain_loss_lattice.build(gain_loss_lattice.Params(**{"S": 1.0, "gain": 0.7, "loss": 1.3} | change))


def one(*symmetries, hamiltonian=(), jumps=()):
    """One spin 1 with H = Σ name and jumps at rate 1."""
    site = np.array([0])
    return System(
        spins=np.array([1.0]),
        symmetries=symmetries,
        hamiltonian=tuple(Terms((name,), site[:, None], np.ones(1)) for name in hamiltonian),
        jumps=tuple(Jumps(name, site, np.ones(1)) for name in jumps),
    )


@pytest.mark.parametrize("spin", [0.5, 1.0, 1.5, 2.0])
def test_one_site_operators_obey_the_spin_algebra(spin):
    Sx, Sy, Sz, up, down = (
        local_operator(name, round(2 * spin) + 1).toarray() for name in ("Sx", "Sy", "Sz", "S+", "S-")
    )
    assert np.allclose(Sx @ Sy - Sy @ Sx, 1j * Sz)
    assert np.allclose(Sx @ Sx + Sy @ Sy + Sz @ Sz, spin * (spin + 1) * np.eye(round(2 * spin + 1)))
    assert np.allclose(up, Sx + 1j * Sy) and np.allclose(down, up.T)
    assert Sz[0, 0] == spin


def test_the_table_of_operators_says_which_are_hermitian():
    for name, entry in OPERATORS.items():
        matrix = local_operator(name, 5).toarray()
        assert np.allclose(matrix, matrix.conj().T) == entry.hermitian, name
        if entry.vector is not None:
            components = zip(entry.vector, ("Sx", "Sy", "Sz"))
            assert np.allclose(matrix, sum(v * local_operator(axis, 5).toarray() for v, axis in components)), name
    assert SPIN_OPERATORS == ("Sx", "Sy", "Sz", "S+", "S-") and HERMITIAN_OPERATORS == ("Sx", "Sy", "Sz")
    assert BOSON_OPERATORS == ("n", "x", "p", "a", "a+")
    with pytest.raises(ValueError, match="the Hamiltonian term S- is not Hermitian"):
        one(hamiltonian=["S-"])
    with pytest.raises(ValueError, match="a jump operator a is on a spin"):
        one(hamiltonian=[], jumps=["a"])


def test_a_spin_coherent_state_is_the_top_state_along_its_direction():
    angles = np.array([[0.4, 2.1], [2.5, -0.7], [1.0, 1.0]])
    system = System(spins=np.array([0.5, 2.0, 0.0]), cutoffs=np.array([0, 0, 3]), hamiltonian=(), jumps=())
    psi = coherent_state(system.levels, angles, system.cutoffs)
    for site, (polar, azimuth) in enumerate(angles[:2]):
        n = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)
        along = sum(c * matrices.site_operator(system, f"S{a}", site) for c, a in zip(n, "xyz"))
        assert np.allclose(along @ psi, system.spins[site] * psi)
    assert np.allclose(matrices.site_operator(system, "n", 2) @ psi, 0) and np.linalg.norm(psi) == pytest.approx(1)


def test_site_zero_is_the_slowest_index():
    system = System(spins=np.array([0.5, 1.0, 1.5]), hamiltonian=(), jumps=())
    middle = local_operator("S+", 3).toarray()
    expected = np.kron(np.kron(np.eye(2), middle), np.eye(4))
    assert np.array_equal(matrices.site_operator(system, "S+", 1).toarray(), expected)


def test_dimer_hamiltonian_is_the_exchange_of_its_docstring():
    up = local_operator("S+", 3).toarray()
    exchange = np.kron(up, up.T)
    H = matrices.hamiltonian(dimer(g=0.8))
    assert np.isrealobj(H) and np.allclose(H.toarray(), 0.8 / 2 * (exchange + exchange.T))
    assert H.nnz == np.count_nonzero(H.toarray())


def test_jumps_of_zero_rate_are_dropped_and_collective_ones_are_summed():
    assert [rate for rate, _ in matrices.jump_operators(dimer(gain=0))] == [1.3]
    pair = System(
        spins=np.full(2, 0.5), hamiltonian=(), jumps=(Jumps("S-", np.array([0, 1]), np.array([0.4]), collective=True),)
    )
    ((rate, jump),) = matrices.jump_operators(pair)
    assert rate == 0.4
    assert np.allclose(jump.toarray(), sum(matrices.site_operator(pair, "S-", i).toarray() for i in (0, 1)))


def test_liouvillian_is_the_master_equation_on_column_stacked_states():
    system = collective_spin.build(collective_spin.Params(S=1, drive=0.7, twist=0.4, decay=0.3, dephasing=0.2))
    H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
    rng = np.random.default_rng(1)
    rho = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    Sx, Sy, Sz = (local_operator(name, 3).toarray() for name in ("Sx", "Sy", "Sz"))
    down = Sx - 1j * Sy
    energy = 0.7 * Sx + 0.4 / 2 * Sx @ Sx
    expected = -1j * (energy @ rho - rho @ energy)
    for rate, c in ((0.3 / 2, down), (0.2, Sz)):  # the papers' D[c]ρ = 2cρc† - {c†c, ρ}
        expected += rate * (2 * c @ rho @ c.conj().T - c.conj().T @ c @ rho - rho @ c.conj().T @ c)
    got = matrices.full_liouvillian(H, jumps) @ rho.flatten("F")
    assert np.allclose(got, expected.flatten("F"))
    effective = matrices.effective_hamiltonian(H, jumps).toarray()
    recycled = sum(rate * jump.toarray() @ rho @ jump.toarray().T for rate, jump in jumps)
    assert np.allclose(-1j * (effective @ rho - rho @ effective.conj().T) + recycled, expected)


def test_liouvillian_agrees_with_qutip():
    qutip = require_module("qutip")
    S, g, gain, loss = 1.0, 1.0, 0.7, 1.3
    up_a = qutip.tensor(qutip.jmat(S, "+"), qutip.qeye(3))
    up_b = qutip.tensor(qutip.qeye(3), qutip.jmat(S, "+"))
    H = g / (2 * S) * (up_a * up_b.dag() + up_b * up_a.dag())
    expected = qutip.liouvillian(H, [np.sqrt(gain / S) * up_a, np.sqrt(loss / S) * up_b.dag()]).full()
    system = dimer(S=S, g=g, gain=gain, loss=loss)
    got = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system))
    assert np.allclose(got.toarray(), expected, atol=1e-13)


def test_charge_counts_sz_and_signs_count_lowerings():
    system = System(spins=np.array([0.5, 1.0, 1.5]), hamiltonian=(), jumps=())
    total = sum(matrices.site_operator(system, "Sz", i).diagonal() for i in range(3))
    assert np.array_equal(charges(replace(system, symmetries=(WeakU1(),))), total + 3)
    lowered = sum(system.spins[i] - matrices.site_operator(system, "Sz", i).diagonal() for i in (0, 2))
    assert np.array_equal(
        Transposition(np.array([0, 2])).action(system).on_basis(system.levels)[1], (-1) ** lowered.astype(int)
    )


@pytest.mark.parametrize(
    "system",
    [
        dimer(),
        dimer(cells=2, S=0.5, h=0.3),
        collective_spin.build(collective_spin.Params(S=2, drive=1, decay=1, dephasing=0.3)),
        collective_spin.build(collective_spin.Params(S=2, decay=1)),
    ],
    ids=["dimer", "chain", "driven", "decaying"],
)
def test_declared_symmetries_hold_for_the_evolution_itself(system):
    H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
    matrices.verify_symmetries(system, H, jumps)
    evolution = expm(0.3 * matrices.full_liouvillian(H, jumps).toarray())
    D = H.shape[0]
    rng = np.random.default_rng(2)
    rho = rng.normal(size=(D, D)) + 1j * rng.normal(size=(D, D))

    def evolve(matrix):
        return (evolution @ matrix.flatten("F")).reshape((D, D), order="F")

    if charge_weights(system) is not None:
        rotation = np.diag(np.exp(0.7j * charges(system)))
        rotated = rotation @ rho @ rotation.conj()
        assert np.allclose(evolve(rotated), rotation @ evolve(rho) @ rotation.conj())
    if action := transposition(system):
        U = np.diag(action.on_basis(system.levels)[1])
        assert np.allclose(evolve(U @ rho.T @ U), U @ evolve(rho).T @ U)


@pytest.mark.parametrize("spin", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_rotations_by_pi_are_the_exponentials(axis, spin):
    system = System(spins=np.full(2, spin), hamiltonian=(), jumps=())
    total = sum(matrices.site_operator(system, f"S{axis}", i).toarray() for i in (0, 1))
    expected = expm(1j * np.pi * total)
    image, sign = Parity(axis).action(system).on_basis(system.levels)
    found = np.zeros_like(expected)
    found[image, np.arange(len(image))] = sign
    phase = np.vdot(found, expected) / len(image)
    assert abs(phase) == pytest.approx(1) and np.allclose(expected, phase * found)


def test_a_permutation_moves_the_operators_of_a_site_to_its_image():
    system = System(spins=np.full(3, 1.0), hamiltonian=(), jumps=())
    image, sign = Translation(np.array([1, 2, 0])).action(system).on_basis(system.levels)
    U = np.zeros((27, 27))
    U[image, np.arange(27)] = sign
    for site in range(3):
        here, there = (matrices.site_operator(system, "S+", i).toarray() for i in (site, (site + 1) % 3))
        assert np.array_equal(U @ here @ U.T, there)


T = Transposition(np.array([0]))


def two(*symmetries, couplings=("Sx",), jumps=("S-",), rates=(0.3, 0.3), collective=False):
    """Two spins 1 with H = Σ SS' and the same jumps on both."""
    sites = np.arange(2)
    return System(
        spins=np.array([1.0, 1.0]),
        symmetries=symmetries,
        hamiltonian=tuple(Terms((name, name), sites[None], np.ones(1)) for name in couplings),
        jumps=tuple(Jumps(name, sites, np.array(rates), collective) for name in jumps),
    )


SWAP = np.array([1, 0])
MODE = System(spins=np.zeros(1), cutoffs=np.array([4]), symmetries=(Parity("x"),), jumps=(), hamiltonian=())


@pytest.mark.parametrize(
    "system, words",
    [
        (one(WeakU1(), hamiltonian=["Sx"]), "WeakU1, but the Hamiltonian"),
        (one(WeakU1(), hamiltonian=["Sz"], jumps=["S-", "Sx"]), "WeakU1, but jump operator 1"),
        (one(T, hamiltonian=["Sy"]), "Transposition, but the Hamiltonian does not obey U Hᵀ U† = -H"),
        (one(T, hamiltonian=["Sz"]), "U Hᵀ U† = -H"),
        (
            System(
                spins=np.full(2, 0.5),
                hamiltonian=(),
                symmetries=(T,),
                jumps=(Jumps("S-", np.array([0, 1]), np.ones(1), collective=True),),
            ),
            "Transposition, but the image of jump operator 0, of rate 1, has the rate 0",
        ),
        (two(WeakU1(np.array([1, -1])), couplings=["Sz"], rates=[0.3], collective=True), "jump operator 0 changes"),
        (two(WeakU1(np.array([1, -1])), couplings=["Sx", "Sy"]), "the Hamiltonian changes its charge"),
        (two(Parity("x")), "Parity about x, but the image of jump operator 0, of rate 0.3, has the rate 0"),
        (one(Parity("z"), hamiltonian=["Sx"]), "Parity about z, but the Hamiltonian does not obey U H U† = H"),
        (two(Translation(SWAP), rates=(0.3, 0.4)), "Translation .* rate 0.3, has the rate 0.4"),
        (
            System(spins=np.full(3, 0.5), hamiltonian=(), jumps=(), symmetries=(Parity(None, np.array([1, 2, 0])),)),
            "not its own inverse",
        ),
        (System(spins=np.array([0.5, 1]), hamiltonian=(), jumps=(), symmetries=(Translation(SWAP),)), "equal sites"),
        (
            System(spins=np.full(2, 0.5), hamiltonian=(), jumps=(), symmetries=(Translation(np.array([1, 1])),)),
            "not a permutation",
        ),
        (MODE, "not defined on a boson mode"),
    ],
)
def test_a_false_symmetry_is_refused(system, words):
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        matrices.verify_symmetries(system, matrices.hamiltonian(system), matrices.jump_operators(system))


def test_a_jump_may_shift_the_charge_by_a_constant():
    system = one(WeakU1(), T, hamiltonian=[], jumps=["S-", "S+", "Sz"])
    matrices.verify_symmetries(system, matrices.hamiltonian(system), matrices.jump_operators(system))


@pytest.mark.parametrize(
    "system",
    [
        two(Parity("x"), Parity("z"), Translation(SWAP), Parity("y", SWAP), jumps=["S-", "S+", "Sz"]),
        two(Parity("z"), Translation(SWAP), jumps=["S-", "Sx"], rates=[0.2], collective=True),
        # the rates of one operator add up: 0.3 + 0.3 downwards, 0.6 upwards
        replace(
            two(Parity("x")),
            jumps=tuple(
                Jumps(name, np.arange(2), np.full(2, rate)) for name, rate in (("S-", 0.3), ("S+", 0.6), ("S-", 0.3))
            ),
        ),
    ],
    ids=["local", "collective", "one operator twice"],
)
def test_symmetries_that_permute_the_jumps_are_accepted(system):
    matrices.verify_symmetries(system, matrices.hamiltonian(system), matrices.jump_operators(system))


@pytest.mark.parametrize(
    "operators, sites, words",
    [
        (("a",), [[0]], "the Hamiltonian term a is not Hermitian"),
        (("n",), [[1]], "Hamiltonian term n is on a spin"),
        (("Sx", "Sx"), [[1, 0]], "Hamiltonian term Sx is on a boson mode"),
    ],
)
def test_operators_stand_on_their_kind_of_site(operators, sites, words):
    with pytest.raises(ValueError, match=words):
        System(
            spins=np.array([0, 0.5]),
            cutoffs=np.array([3, 0]),
            jumps=(),
            hamiltonian=(Terms(operators, np.array(sites), np.ones(1)),),
        )
    with pytest.raises(ValueError, match="jump operator S- is on a boson mode"):
        System(
            spins=np.array([0, 0.5]),
            cutoffs=np.array([3, 0]),
            hamiltonian=(),
            jumps=(Jumps("S-", np.array([0]), np.ones(1)),),
        )
