"""The symmetry sectors of a Liouvillian: which there are, and the maps ρ -> ρ' that each is fixed by.

Every symmetry is a signed permutation of the |m><n|. Those that are their own inverse are the involutions:
the parities, the transposition and, antilinear, the adjoint. Weak U(1) divides the |m><n| by
k = Q(m) - Q(n), translations by their momenta; an involution that takes a k or a momentum to its negative
does not act within a sector where that is another one, but the product of two such does. In every sector

- the linear involutions, as far as they commute, have the eigenvalues ±1 (±i where the square is -1);
- an antilinear one, if there is any, makes the matrix of the Liouvillian real in the basis that it fixes.
"""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from hpcsim.system import Parity, System, Translation, Transposition, WeakU1, matrices


class Name(NamedTuple):
    """A sector: k = Q(m) - Q(n); parity, with bit i set where it is odd under its i-th linear involution;
    momentum q in units of 2π/order, of two translations q1 + order1 q2."""

    k: int = 0
    parity: int = 0
    momentum: int = 0

    def __str__(self):
        return f"sector k = {self.k}, parity = {self.parity}, momentum = {self.momentum}"


HOME = Name()  # of the steady state


@dataclass(frozen=True)
class Structure:
    """What acts within a sector: products of involutions, as bits, with the eigenvalue where they are even.

    antilinear : the product that makes the matrix real, or None
    """

    linear: tuple[int, ...]
    roots: tuple[complex, ...]
    antilinear: int | None


class Symmetries:
    """The symmetries of a system and the sectors they divide its Liouvillian into.

    Translations that do not keep U(1)'s weights, or the sites of the transposition, enter by their square.
    """

    def __init__(self, system: System):
        self.system = system
        u1 = system.symmetry(WeakU1)
        self.charged = u1 is not None
        weights = np.ones(system.sites, int) if not self.charged or u1.weights is None else u1.weights
        transposed = system.symmetry(Transposition)
        here = np.zeros(system.sites, bool)
        if transposed:
            here[transposed.sites] = True
        self.translations = []
        for symmetry in system.symmetries:
            if isinstance(symmetry, Translation):
                p = symmetry.permutation
                if np.any(weights[p] != weights) or np.any(here[p] != here):
                    p = p[p]
                if np.all(weights[p] == weights) and np.all(here[p] == here) and np.any(p != np.arange(len(p))):
                    self.translations.append(Translation(p))
        self.orders = [translation.order for translation in self.translations]
        self._find_involutions(weights, transposed, here)
        self._structures = {}

    def _find_involutions(self, weights, transposed, here):
        """Parity about z first: it tells whether products that commute up to it commute."""
        parities = [s for s in self.system.symmetries if isinstance(s, Parity)]
        total = [s for s in parities if s.axis == "z" and s.permutation is None and not self.charged]
        candidates = total + ([transposed] if transposed else []) + [s for s in parities if s not in total]
        self.z_parity = bool(total)
        self.involutions, flips, moves, complements = [], [], [], []
        one = np.arange(self.system.sites)
        for s in candidates:
            p = one if getattr(s, "permutation", None) is None else s.permutation
            flip, usable = [isinstance(s, Transposition)], all(np.array_equal(p[q], q[p]) for q in moves)
            if isinstance(s, Parity) and self.charged:
                sign = -1 if s.axis in ("x", "y") else 1
                flip = [np.array_equal(sign * weights[p], -weights)]
                usable &= flip[0] or np.array_equal(sign * weights[p], weights)
                usable &= s.axis != "z" or s.permutation is not None
            for t in self.translations:
                commutes, inverts = (
                    np.array_equal(a, p[t.permutation[p]]) for a in (t.permutation, np.argsort(t.permutation))
                )
                flip.append(not commutes)
                usable &= commutes or inverts
            # with the transposition it commutes up to the total parity about z
            complement = isinstance(s, Parity) and transposed is not None and np.all(here[p] != here)
            usable &= not isinstance(s, Parity) or transposed is None or complement or np.all(here[p] == here)
            usable &= not complement or self.charged or self.z_parity
            if usable:
                self.involutions.append(s)
                flips.append(flip)
                moves.append(p)
                complements.append(complement)
        self.flips = np.array(flips + [[True] * (1 + len(self.translations))], bool)  # and of the adjoint
        n = len(self.involutions) + 1
        self.crossed = np.zeros((n, n), bool)
        for i, s in enumerate(self.involutions):
            if isinstance(s, Transposition):
                self.crossed[i, :-1] = self.crossed[:-1, i] = complements

    def _bits(self, mask: int) -> np.ndarray:
        return np.array([mask >> i & 1 for i in range(len(self.flips))], bool)

    def _crossings(self, a: int, b: int) -> int:
        return int(self.crossed[np.ix_(self._bits(a), self._bits(b))].sum()) % 2

    def _square(self, a: int) -> int:
        return int(np.triu(self.crossed[np.ix_(self._bits(a), self._bits(a))]).sum()) % 2

    def momenta(self, momentum: int) -> list[int]:
        found = []
        for order in self.orders:
            momentum, q = divmod(momentum, order)
            found.append(q)
        return found

    def structure(self, k: int, momentum: int, odd: bool) -> Structure:
        """What acts within the sectors k and momentum; odd: the total parity about z is -1 in them."""
        broken = (k != 0, *(2 * q % n != 0 for q, n in zip(self.momenta(momentum), self.orders)))
        if (broken, odd) not in self._structures:
            self._structures[broken, odd] = self._structure(np.array(broken), odd)
        return self._structures[broken, odd]

    def _structure(self, broken: np.ndarray, odd: bool) -> Structure:
        adjoint = 1 << len(self.involutions)
        acting = [
            mask
            for mask in range(1, 2 * adjoint)
            if not np.any(np.logical_xor.reduce(self.flips[self._bits(mask)])[broken])
        ]
        linear, span = [], {0}
        for mask in acting:
            commutes = not (odd and any(self._crossings(mask, other) for other in linear))
            if mask < adjoint and mask not in span and commutes:
                linear.append(mask)
                span |= {mask ^ other for other in span}
        roots = [1j if odd and self._square(mask) else 1 for mask in linear]
        for mask in acting:
            if (
                mask >= adjoint
                and not (odd and self._square(mask))
                and all((odd and self._crossings(mask, a)) == (root == 1j) for a, root in zip(linear, roots))
            ):
                return Structure(tuple(linear), tuple(roots), mask)
        return Structure(tuple(linear), tuple(roots), None)

    def of(self, name: Name) -> Structure:
        return self.structure(name.k, name.momentum, self._odd(name))

    def _odd(self, name: Name) -> bool:
        return bool(name.k % 2 if self.charged else self.z_parity and name.parity & 1)

    def labels(self, shifts: int, every: bool = False) -> list[tuple[tuple[int, int], int]]:
        """((k, momentum), how many there are with the same or the conjugate spectrum), k = 0..shifts-1.

        every : all but those that are the adjoint of another
        """
        span = {(False,) * self.flips.shape[1]}
        for flip in self.flips[-1:] if every else self.flips:
            span |= {tuple(np.logical_xor(flip, other)) for other in span}
        seen, found = set(), []
        for k in range(shifts):
            for q in product(*(range(n) for n in self.orders)):
                if (k, *q) in seen:
                    continue
                images = {
                    (-k if flip[0] else k, *(-x % n if f else x for x, n, f in zip(q, self.orders, flip[1:])))
                    for flip in span
                }
                seen |= images
                momentum = sum(x * int(np.prod(self.orders[:i])) for i, x in enumerate(q))
                found.append(((k, momentum), len(images)))
        return found

    def names(self, shifts: int, every: bool = False) -> list[Name]:
        """All sectors with different spectra, or with every, all whose ρ are independent."""
        found = []
        for (k, momentum), _ in self.labels(shifts, every):
            for parity in range(2 ** len(self.structure(k, momentum, False).linear)):
                name = Name(k, parity, momentum)
                if parity < 2 ** len(self.of(name).linear):
                    found.append(name)
        return found

    def reduction(self, name: Name) -> float:
        """About how many pairs |m><n| make one real unknown of a sector."""
        structure = self.of(name)
        real = 1 if structure.antilinear is not None else 0.5
        return real * 2.0 ** len(structure.linear) * np.prod(self.orders)

    def is_self_adjoint(self, name: Name) -> bool:
        """Whether the adjoint keeps k and the momentum."""
        return name.k == 0 and all(2 * q % n == 0 for q, n in zip(self.momenta(name.momentum), self.orders))

    def maps(self, name: Name, order: np.ndarray) -> "Maps":
        """All maps that fix the ρ of a sector, on the basis states in the given order."""
        structure, place = self.of(name), np.argsort(order)
        identity = (np.arange(len(order)), np.ones(len(order), int), 1, False, False)

        def one(symmetry):
            if isinstance(symmetry, Transposition):
                sign = matrices.transposition_signs(self.system, symmetry.sites)
                return identity[0], sign[order], 1, True, False
            image, sign = matrices.basis_map(self.system, symmetry)
            return place[image[order]], sign[order], 1, False, False

        involutions = [one(s) for s in self.involutions] + [(*identity[:3], True, True)]

        def of_mask(mask, phase):
            result = identity
            for i, involution in enumerate(involutions):
                if mask >> i & 1:
                    result = _after(involution, result)
            return (*result[:2], phase, *result[3:])

        group = [identity]
        for translation, q, n in zip(self.translations, self.momenta(name.momentum), self.orders):
            step, powers = (*one(translation)[:2], np.exp(-2j * np.pi * q / n), False, False), [identity]
            for _ in range(n - 1):
                powers.append(_after(step, powers[-1]))
            group = [_after(power, g) for power in powers for g in group]
        generators = [
            of_mask(mask, (-1) ** (name.parity >> i & 1) / root)
            for i, (mask, root) in enumerate(zip(structure.linear, structure.roots))
        ]
        if structure.antilinear is not None:
            generators.append(of_mask(structure.antilinear, 1))
        for generator in generators:
            group = group + [_after(generator, g) for g in group]
        image, sign, phase, swap, conjugate = zip(*group)
        return Maps(
            np.array(image, np.int32),
            np.array(sign, np.int8),
            np.array(phase, complex),
            np.array(swap),
            np.array(conjugate),
        )


class Maps(NamedTuple):
    """ρ_mn -> phase sign_m sign_n ρ_mn (or its conjugate) at (image m, image n) or swapped; a row per map."""

    image: np.ndarray
    sign: np.ndarray
    phase: np.ndarray
    swap: np.ndarray
    conjugate: np.ndarray


def _after(a, b):
    """The map that does b and then a."""
    phase = a[2] * (np.conj(b[2]) if a[4] else b[2])
    return a[0][b[0]], b[1] * a[1][b[0]], phase, a[3] != b[3], a[4] != b[4]
