"""The symmetries of a system: which sites they make equal, how they act, and new ones of one class each."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import reference
from mpi4py import MPI
from sectors import assert_same_spectrum

from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.models import spin_network, xyz_lattice
from hpcsim.system import (
    Action,
    Jumps,
    Parity,
    Symmetry,
    System,
    Terms,
    Translation,
    WeakU1,
    lines,
    lines_along,
    orbits,
)


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


# Symmetries that the package does not have, each one class


@dataclass(frozen=True)
class Glide(Symmetry):
    """Every site of a ring to the next, and every spin by π about x."""

    cyclic: ClassVar[bool] = True

    def action(self, system):
        return Action.on_sites(system.sites, np.roll(np.arange(system.sites), -1), flipped=True)


@dataclass(frozen=True)
class RotateSome(Symmetry):
    """Some of the spins by π about y."""

    sites: tuple[int, ...]

    def action(self, system):
        some = np.isin(np.arange(system.sites), self.sites)
        return Action.on_sites(system.sites, flipped=some, alternating=some)


@dataclass(frozen=True)
class RotatedExchange(Symmetry):
    """Sites 0 and 1 exchanged, and site 0 first rotated by π about z: its square is the total parity."""

    cyclic: ClassVar[bool] = True

    def action(self, system):
        first = np.arange(system.sites) == 0
        return Action.on_sites(system.sites, np.array([1, 0]), alternating=first)


def bonds(n):
    return np.column_stack([np.arange(n), np.roll(np.arange(n), -1)])


def terms(name, sites, *coefficients):
    sites = np.asarray(sites).reshape(len(coefficients), -1)
    return Terms((name,) * sites.shape[1], sites, np.array(coefficients, float))


def glide_ring():
    """Four spins in a field of alternating sign: even sites decay, odd sites are pumped."""
    return System(
        spins=np.full(4, 0.5),
        hamiltonian=(
            terms("Sz", np.arange(4), 0.6, -0.6, 0.6, -0.6),
            *(terms(f"S{a}", bonds(4), *(J,) * 4) for a, J in zip("xyz", (0.7, -0.3, 1.1))),
        ),
        jumps=(Jumps("S-", np.array([0, 2]), np.full(2, 0.8)), Jumps("S+", np.array([1, 3]), np.full(2, 0.8))),
        symmetries=(Glide(), Parity("z")),
    )


def three_levels_and_a_half():
    """Spins 1, 1/2 and 1, the first two of which keep their form when both turn about y."""
    return System(
        spins=np.array([1.0, 0.5, 1.0]),
        hamiltonian=(
            terms("Sy", [0, 1], 0.4, -0.9),
            terms("Sx", [[0, 1], [0, 0]], 0.8, 0.5),
            terms("Sz", [[0, 1], [2, 2]], 0.3, 0.7),
            Terms(("Sy", "Sx"), np.array([[0, 2], [1, 2]]), np.array([0.9, -0.6])),
        ),
        jumps=(Jumps("Sz", np.arange(3), np.array([0.5, 0.2, 0.3])), Jumps("S-", np.array([2]), np.array([0.6]))),
        symmetries=(RotateSome((0, 1)),),
    )


def twisted_pair():
    """Two spins 1/2 with H = J (Sx Sy' - Sy Sx') + K Sz Sz': a current that an exchange alone would reverse."""
    pair = np.array([[0, 1]])
    return System(
        spins=np.full(2, 0.5),
        hamiltonian=(
            Terms(("Sx", "Sy"), pair, np.array([0.8])),
            Terms(("Sy", "Sx"), pair, np.array([-0.8])),
            terms("Sz", [[0, 1]], 0.7),
        ),
        jumps=(Jumps("S-", np.arange(2), np.full(2, 0.6)), Jumps("Sx", np.arange(2), np.full(2, 0.3))),
        symmetries=(Parity("z"), RotatedExchange()),
    )


NEW = {"glide": glide_ring(), "some spins": three_levels_and_a_half(), "rotated exchange": twisted_pair()}
new_symmetries = pytest.mark.parametrize("system", NEW.values(), ids=NEW)


@new_symmetries
def test_a_new_symmetry_divides_the_liouvillian(system):
    assert_same_spectrum(system, reference.liouvillian(system))
    fewer = replace(system, symmetries=tuple(s for s in system.symmetries if isinstance(s, Parity)))
    assert Sector(operators(system), HOME).size < 0.7 * Sector(operators(fewer), HOME).size


@new_symmetries
def test_the_gap_and_the_steady_state_with_a_new_symmetry(system):
    values, vectors = np.linalg.eig(reference.liouvillian(system))
    zero = np.argmin(abs(values))
    options, context = liouvillian.Options(task="gap"), Context(MPI.COMM_SELF, (0, 0), lambda: False)
    results = [liouvillian.run(system, options, record, context) for record in liouvillian.records(system, options)]
    assert np.nanmin([result["gap"] for result in results]) == pytest.approx(-np.delete(values, zero).real.max())
    rho = vectors[:, zero].reshape((round(system.dimension),) * 2)
    rho /= np.trace(rho)
    options = liouvillian.Options(task="steady_state")
    result = liouvillian.run(system, options, liouvillian.records(system, options)[0], context)
    assert result["purity"] == pytest.approx(np.trace(rho @ rho).real)


@pytest.mark.parametrize("name, symmetry", [("glide", r"Glide\(\)"), ("some spins", r"RotateSome\(sites=\(0, 1\)\)")])
def test_a_new_symmetry_that_does_not_hold_is_refused_by_its_name(name, symmetry):
    system = NEW[name]
    broken = replace(system, hamiltonian=(*system.hamiltonian, terms("Sx", [0], 0.2)))
    with pytest.raises(ValueError, match=f"declares {symmetry}, but the Hamiltonian does not obey"):
        operators(broken)
    broken = replace(system, jumps=(*system.jumps, Jumps("S+", np.array([0]), np.array([0.1]))))
    with pytest.raises(ValueError, match=f"declares {symmetry}, but the image of jump operator"):
        operators(broken)
