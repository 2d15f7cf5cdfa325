"""The symmetries of a system: which sites they make equal, and the lines of sites along them."""

from dataclasses import replace

import numpy as np

from hpcsim.models import spin_network, xyz_lattice
from hpcsim.system import Parity, System, Translation, WeakU1, lines, lines_along, orbits


def ring(sites, *symmetries, **other):
    return System(spins=np.full(sites, 0.5), hamiltonian=(), jumps=(), symmetries=symmetries, **other)


def test_orbits_join_the_sites_that_pure_permutations_exchange():
    two_steps = Translation((np.arange(6) + 2) % 6)
    assert orbits(ring(6, WeakU1(), two_steps)).tolist() == [0, 1, 0, 1, 0, 1]
    mirror = Parity(None, np.array([5, 4, 3, 2, 1, 0]))
    assert orbits(ring(6, mirror)).tolist() == [0, 1, 2, 2, 1, 0]
    assert orbits(ring(6, mirror, two_steps)).tolist() == [0] * 6
    assert orbits(ring(3)).tolist() == [0, 1, 2]


def test_orbits_leave_apart_what_a_rotation_or_a_sublattice_tells_apart():
    swap = np.array([1, 0])
    assert orbits(ring(2, Parity(None, swap))).tolist() == [0, 0]
    assert orbits(ring(2, Parity("z", swap))).tolist() == [0, 1]
    named = {"sublattice": np.array([0, 1]), "sublattices": ("a", "b")}
    assert orbits(ring(2, Parity(None, swap), **named)).tolist() == [0, 1]


def test_orbits_of_models():
    params = spin_network.Params(sites=[4, 3], Jx=1.0, Jy=0.5, decay=1.0)
    assert orbits(spin_network.build(params)).tolist() == [0] * 12
    assert len(set(orbits(spin_network.build(params.model_copy(update={"resolve": True}))))) == 12
    chain = xyz_lattice.Params(convention="lee2013", sites=5, Jx=1.0, Jy=0.5, periodic=False)
    assert orbits(xyz_lattice.build(chain)).tolist() == [0, 1, 2, 1, 0]


def test_lines_follow_a_permutation():
    move = np.array([1, 2, 0, 4, 5, 3])
    assert lines(move).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert lines(np.array([1, 0, 2])) is None
    system = ring(6, Parity(None, np.arange(6)[::-1]), Translation(move))
    assert lines_along(system).tolist() == lines(move).tolist()
    assert lines_along(replace(system, symmetries=())) is None
