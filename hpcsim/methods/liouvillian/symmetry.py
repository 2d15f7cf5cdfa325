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

from hpcsim.system import Action, System, actions, charge_weights


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

    Cyclic ones that do not keep the charge, or do not commute with the transposition, enter by their square. What
    does not fit those accepted before it is left out: it divides nothing.

    cycles      : actions whose sectors have momenta, with their orders
    involutions : actions whose sectors have parities
    total       : Π_i (-1)^(S_i - Sz_i) over all sites, the one action up to which involutions need only commute
    flips       : (involutions + 1, 1 + cycles) bool, what takes k and each momentum to its negative, and the adjoint
    crossed     : which involutions commute up to `total`
    """

    def __init__(self, system: System):
        self.system, self._structures = system, {}
        self.total = Action.on_sites(system.sites, alternating=True)
        self.weights = charge_weights(system)
        self.charged = self.weights is not None
        candidates = actions(system, cyclic=False)
        fixed = [action for action in candidates if action.transposed and action.is_diagonal]
        self.cycles = self._find_cycles(actions(system, cyclic=True), fixed)
        self.orders = [action.order for action in self.cycles]
        # the parity of a charge is that of k: it divides no further
        scalar = Action.on_sites(system.sites, alternating=self.weights % 2 == 1) if self.charged else None
        candidates = [action for action in candidates if not (self.charged and action == scalar)]
        self.z_parity = self.total in candidates
        self.total_is_known = self.z_parity or (self.charged and scalar == self.total)
        # the total parity first, for it tells whether products that commute up to it commute; then the transposition
        candidates.sort(key=lambda action: (action != self.total, not any(action == other for other in fixed)))
        self._find_involutions(candidates)

    def _find_cycles(self, candidates, fixed) -> list[Action]:
        found = []
        for action in candidates:
            for power in (action, action.after(action)):
                keeps = self.weights is None or power.on_weights(self.weights) == 1
                if keeps and all(_commute(power, other) for other in (*found, *fixed)):
                    if power.order > 1:
                        found.append(power)
                    break
        return found

    def _find_involutions(self, candidates):
        self.involutions, flips, crossed = [], [], []
        for action in candidates:
            of_charge = self._flips_charge(action)
            of_momenta = [_flips_momentum(action, cycle) for cycle in self.cycles]
            crossings = [self._crosses(action, other) for other in (*self.involutions, action)]
            if None not in (of_charge, *of_momenta, *crossings):
                self.involutions.append(action)
                flips.append([of_charge, *of_momenta])
                crossed.append(crossings)
        self.flips = np.array([*flips, [True] * (1 + len(self.cycles))], bool)
        n = len(self.involutions)
        self.crossed = np.zeros((n + 1, n + 1), bool)
        for i, row in enumerate(crossed):
            self.crossed[i, : i + 1] = self.crossed[: i + 1, i] = row

    def _flips_charge(self, action: Action) -> bool | None:
        """Whether it takes k to -k; None where it does neither that nor keeps k."""
        if not self.charged:
            return action.transposed
        sign = action.on_weights(self.weights)
        return None if sign is None else sign < 0

    def _crosses(self, a: Action, b: Action) -> bool | None:
        """Whether ab = total ba instead of ba; None where it is neither, or where total is not known."""
        if _commute(a, b):
            return False
        return True if self.total_is_known and a.after(b) == self.total.after(b.after(a)) else None

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
        return bool(name.parity & 1 if self.z_parity else name.k % 2 and self.total_is_known)

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

        def one(action):
            image, sign = action.on_basis(self.system.levels)
            return place[image[order]], sign[order], 1, action.transposed, False

        involutions = [one(action) for action in self.involutions] + [(*identity[:3], True, True)]

        def of_mask(mask, phase):
            result = identity
            for i, involution in enumerate(involutions):
                if mask >> i & 1:
                    result = _after(involution, result)
            return (*result[:2], phase, *result[3:])

        group = [identity]
        for action, q, n in zip(self.cycles, self.momenta(name.momentum), self.orders):
            step, powers = (*one(action)[:2], np.exp(-2j * np.pi * q / n), action.transposed, False), [identity]
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


def symmetries(system: System) -> Symmetries:
    """The `Symmetries` of a system, found once for all of its structure."""
    return system.of_structure(("liouvillian", "symmetries"), lambda: Symmetries(system))


class Maps(NamedTuple):
    """ρ_mn -> phase sign_m sign_n ρ_mn (or its conjugate) at (image m, image n) or swapped; a row per map."""

    image: np.ndarray
    sign: np.ndarray
    phase: np.ndarray
    swap: np.ndarray
    conjugate: np.ndarray


def _commute(a: Action, b: Action) -> bool:
    return a.after(b) == b.after(a)


def _flips_momentum(action: Action, cycle: Action) -> bool | None:
    """Whether it takes the momentum of a cyclic action to its negative; None where it does not act on momenta."""
    if _commute(action, cycle):
        return False
    return True if action.after(cycle) == cycle.inverse.after(action) else None


def _after(a, b):
    """The map that does b and then a."""
    phase = a[2] * (np.conj(b[2]) if a[4] else b[2])
    return a[0][b[0]], b[1] * a[1][b[0]], phase, a[3] != b[3], a[4] != b[4]
