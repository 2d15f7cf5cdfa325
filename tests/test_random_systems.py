"""Symmetries of randomly drawn systems against dense matrices that are built without the package."""

import functools
import itertools

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from sectors import assert_same_spectrum

from hpcsim.models import (
    all_to_all_xyz,
    cavity_dimer,
    collective_spin,
    gain_loss_lattice,
    kerr_oscillator,
    spin_network,
    xyz_lattice,
)
from hpcsim.system import Action, Translation, Transposition, WeakU1

reproducible = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

# few values, so that couplings are often equal, opposite or zero and all symmetries occur
COUPLING, RATE = st.sampled_from([0.0, 0.7, -0.7, 1.1]), st.sampled_from([0.4, 0.4, 0.9])
OPTIONAL, FIELD = st.sampled_from([0.0, 0.4]), st.sampled_from([0.0, 0.3])


def of(module, **parameters):
    return st.fixed_dictionaries(parameters).map(lambda values: module.build(module.Params(**values)))


JJJ = dict.fromkeys(("Jx", "Jy", "Jz"), COUPLING)
MODELS = {
    "all_to_all_xyz": of(
        all_to_all_xyz,
        N=st.integers(2, 4),
        decay=RATE,
        pump=OPTIONAL,
        collective_decay=OPTIONAL,
        dephasing=OPTIONAL,
        field=FIELD,
        field_angle=FIELD,
        **JJJ,
    ),
    "cavity_dimer": of(
        cavity_dimer, S=st.just(0.5), detuning=COUPLING, Gc=COUPLING, G=COUPLING, decay_a=RATE, decay_b=RATE
    ),
    "collective_spin": of(
        collective_spin,
        S=st.sampled_from([0.5, 1, 1.5, 3]),
        drive=FIELD,
        twist=COUPLING,
        decay=RATE,
        dephasing=OPTIONAL,
    ),
    "dimer": of(gain_loss_lattice, S=st.sampled_from([0.5, 1, 1.5]), g=COUPLING, gain=RATE, loss=RATE),
    "gain_loss_lattice": of(
        gain_loss_lattice,
        cells=st.sampled_from([2, (2, 1), (1, 2)]),
        S=st.just(0.5),
        g=COUPLING,
        h=COUPLING,
        gain=RATE,
        loss=RATE,
        periodic=st.just(False),
    ),
    "gain_loss_ring": of(
        gain_loss_lattice, cells=st.just(2), S=st.just(0.5), g=COUPLING, h=COUPLING, gain=RATE, loss=RATE
    ),
    "kerr_oscillator": of(
        kerr_oscillator, detuning=COUPLING, U=COUPLING, F=FIELD, D=RATE, decay=RATE, cutoff=st.integers(2, 8)
    ),
    "spin_network": of(
        spin_network,
        sites=st.sampled_from([2, 3, (2, 2)]),
        field_x=FIELD,
        field_z=FIELD,
        twist=OPTIONAL,
        decay=RATE,
        gain=OPTIONAL,
        dephasing=OPTIONAL,
        periodic=st.booleans(),
        resolve=st.booleans(),
        power=st.sampled_from([None, 0.0, 1.5]),
        **JJJ,
    ),
    "xyz_lattice": of(
        xyz_lattice,
        convention=st.sampled_from(["lee2013", "huber2021"]),
        sites=st.sampled_from([2, 3, 4, (2, 2), (3, 1)]),
        decay=RATE,
        periodic=st.booleans(),
        **JJJ,
    ),
}


def moved_sites(levels, permutation):
    """(D, D): the state of site i becomes that of site permutation[i]."""
    dimension = int(np.prod(levels))
    found = np.zeros((dimension, dimension))
    for state in np.ndindex(*levels):
        there = np.empty(len(levels), int)
        there[permutation] = state
        found[np.ravel_multi_index(there, levels), np.ravel_multi_index(state, levels)] = 1
    return found


def unitary(symmetry, system) -> np.ndarray:
    """U of a declared symmetry from its definition: exponentials of spins, (-1)^n of modes, permutations."""
    levels = tuple(int(n) for n in system.levels)

    def turn(site, axis):
        if system.cutoffs[site]:
            return np.diag((-1.0) ** np.arange(levels[site])[::-1])
        return expm(1j * np.pi * reference.site_matrices(system, site)[f"S{axis}"])

    if isinstance(symmetry, Transposition):
        local = [turn(i, "z") if i in symmetry.sites else np.eye(levels[i]) for i in range(system.sites)]
    elif isinstance(symmetry, Translation) or symmetry.axis is None:
        local = [np.eye(n) for n in levels]
    else:
        local = [turn(i, symmetry.axis) for i in range(system.sites)]
    U = functools.reduce(np.kron, local)
    return U if getattr(symmetry, "permutation", None) is None else moved_sites(levels, symmetry.permutation) @ U


def matrix(action: Action, levels) -> np.ndarray:
    """The (D, D) matrix of `on_basis`."""
    image, sign = action.on_basis(np.array(levels))
    found = np.zeros((len(image),) * 2)
    found[image, np.arange(len(image))] = sign
    return found


def map_of(U, transposed) -> np.ndarray:
    """(D², D²) of ρ -> U ρ U† or U ρᵀ U†, on row-stacked ρ."""
    size = len(U)
    swap = np.eye(size**2).reshape(size, size, size, size).transpose(0, 1, 3, 2).reshape(size**2, size**2)
    return np.kron(U, U.conj()) @ (swap if transposed else np.eye(size**2))


@pytest.mark.parametrize("model", MODELS)
@settings(reproducible, max_examples=5)
@given(data=st.data())
def test_declared_symmetries_are_those_of_the_dense_liouvillian(model, data):
    system = data.draw(MODELS[model])
    L = reference.liouvillian(system)
    for symmetry in system.symmetries:
        if isinstance(symmetry, WeakU1):
            Q = sum(
                w * reference.on_site(system, "n" if cutoff else "Sz", i)
                for i, (w, cutoff) in enumerate(zip(symmetry.charge_weights(system), system.cutoffs))
            )
            U = expm(0.7j * Q)
            E = map_of(U, transposed=False)
        else:
            action, U = symmetry.action(system), unitary(symmetry, system)
            E, found = map_of(U, action.transposed), matrix(action, system.levels)
            assert abs(abs(np.vdot(found, U)) - len(U)) < 1e-9 * len(U)  # equal up to one phase
        assert abs(L @ E - E @ L).max() < 1e-10 * abs(L).max()


@pytest.mark.parametrize("model", MODELS)
@settings(reproducible, max_examples=5)
@given(data=st.data())
def test_sectors_of_random_systems_have_the_spectrum_of_the_whole(model, data):
    system = data.draw(MODELS[model])
    assert_same_spectrum(system, reference.liouvillian(system))


@st.composite
def two_actions(draw):
    """Levels of one to three sites, and two actions on them."""
    levels = draw(st.sampled_from([(2,), (3,), (2, 2), (3, 3), (2, 3, 2), (2, 2, 2)]))
    n = len(levels)
    moves = [p for p in map(np.array, itertools.permutations(range(n))) if np.array_equal(np.array(levels)[p], levels)]
    flags = st.lists(st.booleans(), min_size=n, max_size=n).map(lambda found: np.array(found, bool))
    actions = [
        Action(moves[draw(st.integers(0, len(moves) - 1))], draw(flags), draw(flags), draw(st.booleans()))
        for _ in range(2)
    ]
    return levels, *actions


@settings(reproducible, max_examples=60)
@given(two_actions())
def test_actions_multiply_as_their_maps_of_density_matrices(drawn):
    levels, a, b = drawn
    first, second, product = (map_of(matrix(x, levels), x.transposed) for x in (b, a, a.after(b)))
    assert np.array_equal(product, second @ first)
    inverse = map_of(matrix(a.inverse, levels), a.inverse.transposed)
    assert np.array_equal(inverse @ second, np.eye(len(second)))
    powers = [np.linalg.matrix_power(second.astype(int), n) for n in range(1, a.order + 1)]
    identity = [np.array_equal(power, np.eye(len(second))) for power in powers]
    assert identity == [False] * (a.order - 1) + [True]
    assert (a == b) == np.array_equal(first, second)


@settings(reproducible, max_examples=60)
@given(two_actions(), st.lists(st.integers(-2, 2), min_size=3, max_size=3))
def test_an_action_keeps_or_negates_a_charge(drawn, weights):
    """|m⟩⟨n| with Q(m) - Q(n) = k goes to elements with k, or -k, or neither."""
    levels, action, _ = drawn
    weights = np.array(weights[: len(levels)])
    ladders = [-np.arange(n) for n in levels]
    Q = functools.reduce(np.add.outer, [w * ladder for w, ladder in zip(weights, ladders)]).ravel()
    image, _ = action.on_basis(np.array(levels))
    k, there = (np.subtract.outer(q, q) for q in (Q, Q[image]))
    there = -there if action.transposed else there
    expected = 1 if np.array_equal(k, there) else -1 if np.array_equal(k, -there) else None
    assert action.on_weights(weights) == expected
