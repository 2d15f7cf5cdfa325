"""From a System's tables to the drift and noise of the stochastic equations."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from hpcsim.ensemble.streams import DRAWS_PER_BLOCK, THREE_POINT_AMPLITUDE
from hpcsim.system import HERMITIAN_OPERATORS, System, Terms, cartesian, left_over


class Tables(NamedTuple):
    """The classical spins obey ds/dt = b × s (Stratonovich). Component j of the field on site i is

        b_ij = field_ij + Σ_e coupling_ej s_{neighbour e, j} + Σ_f cross_f s_{cross_neighbour f, k} + square_ij s_ij
               + damping_i (-s_y, s_x, 0)_j + noise_ij

    with e in range(start[i], start[i + 1]) (compressed sparse rows, filled up with zeros to an even number of
    entries, at least two), and with those f in range(cross_start[i], cross_start[i + 1]) whose cross_axes f are (j, k):
    couplings of different components, as Dzyaloshinskii's and Moriya's. In the positive diffusion approximation,
    the noise of decay and pump acts on the spinors instead, and `loss` and `gain` hold their rates.

    field      : (sites, 3)
    start      : (sites + 1,), neighbour : (entries,), coupling : (entries, 3)
    cross_start, cross_neighbour, cross_axes, cross : (sites + 1,), (entries,), (entries, 2), (entries,)
    square     : (sites, 3), damping : (sites,) rate of S- minus rate of S+
    order      : (sites,) the order in which sites are turned, neighbours near each other
    begin      : (blocks + 1,) places in `order`: those in begin[b]:begin[b + 1] share a block of random numbers
    first_half : of a bipartite graph, the sites of the first `first_half` blocks have no bond among themselves, nor
                 have the others; -1 if the graph is not bipartite
    skew       : at least 1; block number b of one half has bonds to the blocks b - skew ... b + skew of the other
    draw       : (sites, 3) row of that block for b_ij; DRAWS_PER_BLOCK, beyond the block, is for no noise
    strength   : (blocks, DRAWS_PER_BLOCK) square root of the noise power of a row
    ito        : (sites, 3) half the noise power of the other two components
    loss, gain : (sites,) rates of S- and S+ that act on spinors
    """

    field: np.ndarray
    start: np.ndarray
    neighbour: np.ndarray
    coupling: np.ndarray
    cross_start: np.ndarray
    cross_neighbour: np.ndarray
    cross_axes: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    damping: np.ndarray
    order: np.ndarray
    begin: np.ndarray
    first_half: int
    skew: int
    draw: np.ndarray
    strength: np.ndarray
    ito: np.ndarray
    loss: np.ndarray
    gain: np.ndarray

    def over(self, dt: float, rotating: bool = True) -> "Tables":
        """The same for a step dt: w = tan(angle/2) of a Cayley rotation by the angle b dt, instead of b.

        To first order w is b dt/2, which is what the deterministic field gets. A noise has three values:
        each gets the w of its own angle, or the rotation would be wrong in the order dt. Explicit
        integrators, which do not rotate, take b dt/2 for all.
        """
        half, a = dt / 2, THREE_POINT_AMPLITUDE
        angle = np.sqrt(dt) / 2 * self.strength
        return self._replace(
            field=half * self.field,
            coupling=half * self.coupling,
            cross=half * self.cross,
            square=half * self.square,
            damping=half * self.damping,
            ito=dt * self.ito,
            strength=np.tan(a * angle) / a if rotating else angle,
        )

    def fastest(self, spins: np.ndarray) -> tuple[float, float]:
        """Bounds over all sites: of |b| without noise, and of the noise power of a component of b."""
        lengths = spins + 0.5
        from_neighbours = np.zeros(len(spins))
        rows = np.repeat(np.arange(len(spins)), np.diff(self.start))
        largest = np.abs(self.coupling).max(axis=1, initial=0)
        np.add.at(from_neighbours, rows, largest * lengths[self.neighbour])
        rows = np.repeat(np.arange(len(spins)), np.diff(self.cross_start))
        np.add.at(from_neighbours, rows, np.abs(self.cross) * lengths[self.cross_neighbour])
        own = (np.abs(self.square).max(axis=1, initial=0) + np.abs(self.damping)) * lengths
        drift = np.linalg.norm(self.field, axis=1) + from_neighbours + own
        return float(drift.max()), float(self.strength.max(initial=0) ** 2)


NUMBERS = ("field", "coupling", "cross", "square", "damping", "strength", "ito")


def stacked(tables: list[Tables]) -> Tables:
    """The numbers of several tables of one structure with an axis in front; a single one's are not copied."""
    if len(tables) == 1:
        return tables[0]._replace(**{name: getattr(tables[0], name)[None] for name in NUMBERS})
    return tables[0]._replace(**{name: np.array([getattr(x, name) for x in tables]) for name in NUMBERS})


def unsupported(system: System) -> str | None:
    """Why the truncated Wigner equations of this system are not known here, or None."""
    if np.any(system.cutoffs):
        return "it has boson modes: only spins are supported"
    for terms in cartesian(system):
        together = len(terms.operators) > 2 or left_over(terms)
        if len(set(terms.operators)) == 2:
            together = together | (terms.sites[:, 0] == terms.sites[:, 1])
        if np.any(refused := together & (terms.coefficients != 0)):
            term = Terms(terms.operators, terms.sites[refused], terms.coefficients[refused], terms.plus_hc)
            return (
                f"its Hamiltonian has the term {term}: only single operators, products of two operators of different "
                f"sites and squares of Sx, Sy and Sz are supported"
            )
    for jumps in system.jumps:
        if jumps.used and (jumps.collective or not jumps.of_spins):
            return f"it has the jump operator {jumps}: only S-, S+, Sx, Sy and Sz of one site are supported"
    return None


class Graph(NamedTuple):
    """Which sites are coupled, the same for all systems of a structure.

    pairs     : (2 x couplings, 2) of all couplings both directions; alone : which of them are on one site
    where     : of each of the others, its place among the different ones
    start, neighbour : of all different pairs, also of different components, in compressed sparse rows
    cross, cross_where : the different (site, component, neighbour, its component) of couplings of different
                         components, (entries, 4), rising; and of each such coupling, both directions, its place there
    order, sizes     : of `Tables`, and the number of sites in each half
    """

    pairs: np.ndarray
    alone: np.ndarray
    where: np.ndarray
    start: np.ndarray
    neighbour: np.ndarray
    cross: np.ndarray
    cross_where: np.ndarray
    order: np.ndarray
    sizes: list


def compile_system(system: System, scheme: str) -> Tables:
    """Tables of a system for the scheme "spin_conserving" or "pda", in the Wigner representation.

    A coupling c Sj Sk' between two sites gives the field component j, c s_k', on the first and k, c s_j, on the second;
    c Sj² on one site gives 2c s_j. The jump operator S∓ with (standard Lindblad) rate γ damps with ±γ and
    drives b_x and b_y by white noises of power γ; Sj with rate γ drives b_j by one of power γ.
    """
    return system.kept(("phase_space", scheme), lambda: _compile(system, scheme))


class Forces(NamedTuple):
    """What is linear in coefficients and rates, as in `Tables`; coupling (neighbours, 3) and cross on a `Graph`, and
    the power (sites, 3) of the noise of every component."""

    field: np.ndarray
    coupling: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    damping: np.ndarray
    ito: np.ndarray
    loss: np.ndarray
    gain: np.ndarray
    power: np.ndarray


def forces(system: System, scheme: str) -> tuple[Forces, Graph]:
    """The forces of a system, and the graph of its couplings."""
    n, graph = system.sites, system.of_structure(("phase_space", "graph"), lambda: _graph(system))
    field, power = np.zeros((n, 3)), np.zeros((n, 3))
    loss, gain = np.zeros(n), np.zeros(n)
    values, cross = [np.empty((0, 3))], [np.empty(0)]
    for terms in cartesian(system):
        if not np.any(terms.coefficients):
            continue
        axis = HERMITIAN_OPERATORS.index(terms.operators[0])
        if len(terms.operators) == 1:
            np.add.at(field[:, axis], terms.sites[:, 0], terms.coefficients)
        elif len(set(terms.operators)) == 2:
            cross += 2 * [terms.coefficients]
        else:
            # both directions; on one site they add up to the factor 2 of the square
            values += 2 * [np.outer(terms.coefficients, np.eye(3)[axis])]
    for jumps in system.jumps:
        if not jumps.used:
            continue
        (name,) = jumps.operators
        if name in HERMITIAN_OPERATORS:
            np.add.at(power[:, HERMITIAN_OPERATORS.index(name)], jumps.site, jumps.rates)
        else:
            np.add.at(loss if name == "S-" else gain, jumps.site, jumps.rates)
    damping = loss - gain
    if scheme == "spin_conserving":
        power += np.outer(loss + gain, [1, 1, 0])
        loss, gain = np.zeros(n), np.zeros(n)
    values, alone = np.vstack(values), graph.alone
    square, coupling = np.zeros((n, 3)), np.zeros((len(graph.neighbour), 3))
    np.add.at(square, graph.pairs[alone, 0], values[alone])
    np.add.at(coupling, graph.where, values[~alone])
    crossed = np.zeros(len(graph.cross))
    np.add.at(crossed, graph.cross_where, np.concatenate(cross))
    others = (power.sum(axis=1, keepdims=True) - power) / 2
    return Forces(field, coupling, crossed, square, damping, others, loss, gain, power), graph


def _compile(system: System, scheme: str) -> Tables:
    found, graph = forces(system, scheme)
    power = found.power
    begin, first_half, skew, draw, _ = draws(system, power, graph)
    strength = np.sqrt(in_rows(system, power, power, graph))
    where = graph.order, begin, first_half, skew, draw, strength
    return Tables(
        found.field,
        *even_rows(graph, found.coupling),
        *cross_rows(graph),
        *found[2:5],
        *where,
        found.ito,
        found.loss,
        found.gain,
    )


def draws(system: System, power: np.ndarray, graph: Graph):
    """begin, first_half, skew and draw of `Tables`, and the block of every row of draw, for noise of these powers."""
    noisy = power != 0
    return system.of_structure(("phase_space", "draws", noisy.tobytes()), lambda: _draws(noisy, graph))


def in_rows(system: System, power: np.ndarray, largest: np.ndarray, graph: Graph) -> np.ndarray:
    """(blocks, DRAWS_PER_BLOCK) powers (sites, 3) in the rows of random numbers, as they lie for the largest powers."""
    begin, _, _, draw, row = draws(system, largest, graph)
    found, noisy = np.zeros((len(begin) - 1, DRAWS_PER_BLOCK)), largest != 0
    found[row[noisy], draw[noisy]] = power[noisy]
    return found


def _graph(system: System) -> Graph:
    n, pairs, crossed = system.sites, [np.empty((0, 2), int)], [np.empty((0, 4), int)]
    for terms in cartesian(system):
        if not np.any(terms.coefficients) or len(terms.operators) == 1:
            continue
        if len(set(terms.operators)) == 1:
            pairs += [terms.sites, terms.sites[:, ::-1]]
        else:
            (i, j), (a, b) = terms.sites.T, map(HERMITIAN_OPERATORS.index, terms.operators)
            there = np.stack(np.broadcast_arrays(i, a, j, b), axis=1)
            crossed += [there, there[:, [2, 3, 0, 1]]]
    pairs, (cross, cross_where) = np.vstack(pairs), np.unique(np.vstack(crossed), axis=0, return_inverse=True)
    alone, places = pairs[:, 0] == pairs[:, 1], pairs[:, 0] * n + pairs[:, 1]
    flat = np.unique(np.concatenate([places[~alone], cross[:, 0] * n + cross[:, 2]]))
    start, neighbour = np.searchsorted(flat, n * np.arange(n + 1)), flat % n
    where = np.searchsorted(flat, places[~alone])
    return Graph(pairs, alone, where, start, neighbour, cross, cross_where.ravel(), *_halves(n, start, neighbour))


def cross_rows(graph: Graph):
    """cross_start, cross_neighbour and cross_axes of `Tables`."""
    site, axis, neighbour, other = graph.cross.T
    return np.searchsorted(site, np.arange(len(graph.start))), neighbour.copy(), np.column_stack([axis, other])


def even_rows(graph: Graph, coupling: np.ndarray):
    """start, neighbour and coupling of `Tables`: with couplings 0 of a site to itself, so that every row has 2, 4, 6
    ... entries."""
    start = graph.start
    sites = np.repeat(np.arange(len(start) - 1), np.diff(start))
    count = np.diff(start)
    filled = np.maximum(2, count + count % 2)
    begin = np.concatenate([[0], np.cumsum(filled)])
    place = begin[sites] + np.arange(len(sites)) - start[sites]
    to, values = np.repeat(np.arange(len(count)), filled), np.zeros((begin[-1], 3))
    to[place], values[place] = graph.neighbour, coupling
    return begin, to, values


def _halves(n, start, neighbour):
    """order of `Tables`, and the sizes of its halves, only one if the graph is not bipartite.

    From both ends of the numbers of sites inwards, or a periodic lattice would have its first neighbours last.
    The double cover of a bipartite graph falls into two copies of it.
    """
    bonds = sp.csr_matrix((np.ones(len(neighbour)), neighbour, start), (n, n))
    near = np.argsort(np.minimum(np.arange(n), n - np.arange(n)), kind="stable")
    _, label = connected_components(sp.bmat([[None, bonds], [bonds, None]]), directed=False)
    one, other = label[:n], label[n:]
    if np.any(one == other):
        return near, [n]
    second = (one > other)[near]
    return np.concatenate([near[~second], near[second]]), [n - int(second.sum()), int(second.sum())]


def _draws(noisy, graph: Graph):
    """begin, first_half, skew and draw of `Tables`, and the block of every row of draw (sites, 3).

    A site's numbers are all in one block, and no block serves both halves. noisy : (sites, 3) where there is noise
    """
    order, sizes = graph.order, graph.sizes
    needed = np.count_nonzero(noisy, axis=1)[order]
    begin, blocks, row, block = [], [0], np.empty(len(order), int), np.empty(len(order), int)
    for last, size in zip(np.cumsum(sizes), sizes):
        # the sites of one half in blocks, as many to a block as the neediest allows
        sites = order[last - size : last]
        share = DRAWS_PER_BLOCK // max(1, needed[last - size : last].max(initial=0))
        begin.append(np.arange(last - size, last, share))
        block[sites] = blocks[-1] + np.arange(size) // share
        row[sites] = np.arange(size) % share * (DRAWS_PER_BLOCK // share)
        blocks.append(blocks[-1] + len(begin[-1]))
    rank = np.cumsum(noisy, axis=1) - 1
    draw = np.where(noisy, row[:, None] + rank, DRAWS_PER_BLOCK)
    begin, first_half = np.concatenate([*begin, [len(order)]]), blocks[1] if len(sizes) == 2 else -1
    skew = _skew(graph.start, graph.neighbour, order, begin, first_half)
    return begin, first_half, skew, draw, np.repeat(block[:, None], 3, axis=1)


def _skew(start, neighbour, order, begin, first_half):
    """skew of `Tables`."""
    block = np.empty(len(order), int)
    block[order] = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
    number = np.where(block < first_half, block, block - first_half)
    rows = np.repeat(np.arange(len(start) - 1), np.diff(start))
    return max(1, int(np.abs(number[rows] - number[neighbour]).max(initial=0)))
