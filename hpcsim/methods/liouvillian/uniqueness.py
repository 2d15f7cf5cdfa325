"""Whether a steady state that is unique in its own sector is unique in all of them, without another factorisation.

Where the sector of the steady state σ has one zero, σ has the largest support of all steady states, and within that
support they are the Xσ with all X that commute with H, with the jump operators L and with L† (Frigerio, Commun. Math.
Phys. 63, 269 (1978)): the commutant. So σ is unique where only multiples of 1 do. X and X†X are in the commutant
together, hence it has an element that keeps the charge of weak U(1), if it has any but 1: blocks of equal charge are
enough. X commutes with a random Hermitian element A of the algebra of H, L and L†, and is diagonal where A is but for
A's degenerate eigenvalues. What is left is Σ_G |[G, X]|² = 0 in as many unknowns as there are states.
"""

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import eigsh

from hpcsim.methods.liouvillian.operators import Operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.solvers import NotUnique

SUPPORT = 1e-14  # eigenvalues of σ below this part of the largest are rounding, and their states outside of its support
DEGENERATE = 1e-6  # eigenvalues of A this close, relative to their range, count as equal
CANDIDATE = 1e-9  # Σ_G |[G, X]|² / |X|² below which X is looked at closely, with |G| = 1
COMMUTES = 1e-9  # its square root, computed from X itself, below which X commutes
ZERO = 1e-12  # relative to |H_eff|: an eigenvalue this small has no digits, and is that of another steady state
DENSE = 400  # unknowns up to which a dense eigenvalue problem is faster


def refuse_zero(value: complex, sector: Sector) -> None:
    """Raises NotUnique if this eigenvalue of a sector, not the steady state's own zero, is zero to rounding."""
    if abs(value) < ZERO * abs(sector.operators.effective).sum(1).max():
        raise NotUnique(
            f"the steady state is not unique: a further eigenvalue of {sector} is zero to {abs(value):.1e}; add "
            "dissipation, or terms of the Hamiltonian, that connect all states, or take task: evolve, from a given "
            "initial state"
        )


def check(comm, home: Sector, local: np.ndarray) -> None:
    """Raises NotUnique where a second steady state lies outside of the steady state's sector. Collective.

    local : this rank's part of the steady state
    """
    parts = comm.gather(local)
    message = comm.bcast(_ambiguity(home, np.concatenate(parts)) if comm.rank == 0 else None)
    if message:
        raise NotUnique(message)


def _ambiguity(home: Sector, state: np.ndarray) -> str | None:
    operators, blocks = home.operators, _blocks(home, state)
    basis = [_support(block) for block in blocks]
    generators = _generators(operators, [operators.hamiltonian, *operators.jumps], basis)
    found = commuting(generators, [vectors.shape[1] for vectors in basis])
    if found is None:
        return None
    states = [vectors @ X @ vectors.conj().T for vectors, X in zip(basis, found)]
    parts = _parts(np.concatenate([linalg.eigvalsh(X) for X in found if len(X)]))
    return (
        f"the steady state is not unique: there is a second one in the {_sector(home, states, blocks)}, because the "
        f"Hamiltonian and the jump operators never connect {' and '.join(map(str, parts))} states with each other; "
        "add a term or a jump operator that connects them, or take task: evolve, from a given initial state"
    )


def jumps_connect(operators: Operators) -> bool:
    """Whether only multiples of 1 commute with all jump operators L and L†, whatever H is.

    Then a steady state without zero eigenvalues is unique.
    """
    sizes = np.diff(operators.first)
    return commuting(_generators(operators, operators.jumps, [np.eye(n) for n in sizes]), sizes) is None


def has_full_support(comm, home: Sector, local: np.ndarray) -> bool:
    """Whether all eigenvalues of σ, from this rank's part of its components, are above rounding. Collective."""
    try:
        for block in _blocks(home, np.concatenate(comm.allgather(local)) if comm.size > 1 else local):
            block.ravel()[:: len(block) + 1] -= SUPPORT  # the block is a view of what was made here
            np.linalg.cholesky(block)
    except np.linalg.LinAlgError:
        return False
    return True


def _blocks(home: Sector, state: np.ndarray) -> list[np.ndarray]:
    """σ in blocks of equal charge."""
    elements, ends = home.elements(state), zip(home.layout.pairs, home.layout.pairs[1:])
    return [elements[start:stop].reshape(2 * [round(np.sqrt(stop - start))]) for start, stop in ends]


def _support(block: np.ndarray) -> np.ndarray:
    """Orthonormal vectors (states, rank) that span the support of a block of σ: those of the basis if all."""
    values, vectors = linalg.eigh((block + block.conj().T) / 2)
    kept = values > SUPPORT
    return np.eye(len(block)) if kept.all() else vectors[:, kept]


def _generators(operators: Operators, matrices, basis) -> list[tuple[int, list]]:
    """(shift, blocks) of each matrix, |G| = 1: blocks[b] leads from charge b to b + shift, or is None."""
    found = []
    for matrix in matrices:
        norm, first = np.linalg.norm(matrix.data), operators.first
        if norm == 0:
            continue
        largest = int(np.argmax(abs(matrix.data)))
        row, column = np.searchsorted(matrix.indptr, largest, "right") - 1, matrix.indices[largest]
        shift, blocks = int(operators.block[row] - operators.block[column]), [None] * len(basis)
        for b in range(max(0, -shift), len(basis) - max(0, shift)):
            part = matrix
            if len(basis) > 1:
                part = matrix[first[b + shift] : first[b + shift + 1], first[b] : first[b + 1]]
            blocks[b] = basis[b + shift].conj().T @ (part @ basis[b]) / norm
        found.append((shift, blocks))
    return found


def commuting(generators, sizes) -> list[np.ndarray] | None:
    """A Hermitian X of unit norm and trace 0, in blocks, that commutes with all generators, or None: there is none.

    generators : as from _generators;  sizes : of the blocks
    """
    if sum(sizes) < 2:
        return None
    random = np.random.default_rng(0)
    eigen = [linalg.eigh(block) for block in _random_element(generators, sizes, random)]
    rotated = [
        (
            shift,
            [None if g is None else eigen[b + shift][1].conj().T @ g @ eigen[b][1] for b, g in enumerate(blocks)],
        )
        for shift, blocks in generators
    ]
    spread = max(np.ptp(values) for values, _ in eigen if len(values)) or 1.0
    pairs = [_degenerate_pairs(values, DEGENERATE * spread) for values, _ in eigen]
    offsets = np.cumsum([0] + [len(i) for i, _ in pairs])
    values, vectors = _lowest(_commutator_form(rotated, pairs))
    candidates = [
        [
            _block(vectors[start:stop, c], pair, size)
            for pair, size, start, stop in zip(pairs, sizes, offsets, offsets[1:])
        ]
        for c in np.flatnonzero(values < CANDIDATE)
    ]
    X = _most_commuting(rotated, candidates, sizes)
    return X and [v @ x @ v.conj().T for (_, v), x in zip(eigen, X)]


def _random_element(generators, sizes, random) -> list[np.ndarray]:
    """A Hermitian element of the algebra, of no special kind, that keeps the charge."""

    def quadratic():
        total, mixed = [np.zeros((n, n), complex) for n in sizes], {}
        for shift, blocks in generators:
            weight = complex(*random.standard_normal(2))
            sums = mixed.setdefault(shift, [None] * len(sizes))
            for b, g in enumerate(blocks):
                if g is not None:
                    sums[b] = weight * g + (0 if sums[b] is None else sums[b])
        for shift, blocks in mixed.items():
            a, c = random.standard_normal(2)
            for b, g in enumerate(blocks):
                if g is not None:
                    total[b] += a * g.conj().T @ g
                    total[b + shift] += c * g @ g.conj().T
                    if shift == 0:
                        total[b] += g + g.conj().T
        return total

    first, second, third = quadratic(), quadratic(), quadratic()
    products = [(1 + 0.5j) * b @ c for b, c in zip(second, third)]
    size = max((linalg.norm(p) for p in products if p.size), default=0) or 1.0
    return [a + (p + p.conj().T) / size for a, p in zip(first, products)]


def _degenerate_pairs(values, closest: float) -> tuple[np.ndarray, np.ndarray]:
    """All (i, j) of eigenvalues, in rising order, that count as equal, i = j among them."""
    group = np.cumsum(np.diff(values, prepend=values[:1]) > closest)
    starts = np.searchsorted(group, group)
    lengths = np.searchsorted(group, group, "right") - starts
    i = np.repeat(np.arange(len(values)), lengths)
    return i, np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths)] or [np.zeros(0, int)])


def _commutator_form(generators, pairs):
    """The matrix of Σ_G |[G, X]|² in the X_ij of the given pairs: sparse, or dense if there is one block."""
    blocks = [[None] * len(pairs) for _ in pairs]

    def add(row, column, value):
        blocks[row][column] = value + (0 if blocks[row][column] is None else blocks[row][column])

    for shift, matrices in generators:
        for b, g in enumerate(matrices):
            if g is None:
                continue
            (i, j), (k, l) = pairs[b], pairs[b + shift]
            inside, outside = g.conj().T @ g, g @ g.conj().T
            add(b, b, inside[np.ix_(i, i)] * (j[:, None] == j))
            add(b + shift, b + shift, outside[np.ix_(l, l)].T * (k[:, None] == k))
            cross = -g[np.ix_(k, i)] * g[np.ix_(l, j)].conj()
            add(b + shift, b, cross)
            add(b, b + shift, cross.conj().T)
    if len(pairs) == 1:
        return blocks[0][0]
    for b, (i, _) in enumerate(pairs):
        add(b, b, np.zeros((len(i), len(i))))
    # as sparse ones: numpy would make one array of dense blocks that are all of one row and column
    return sparse.bmat([[None if b is None else sparse.coo_array(b) for b in row] for row in blocks], "csc")


def _lowest(form):
    """A few of the smallest eigenvalues, and their vectors."""
    size = form.shape[0]
    count = min(6, size)
    if size <= DENSE or not sparse.issparse(form):
        return linalg.eigh(form.toarray() if sparse.issparse(form) else form, subset_by_index=[0, count - 1])
    start = np.cos(np.arange(size)).astype(form.dtype)
    return eigsh(form, count, sigma=-CANDIDATE, v0=start, which="LM")


def _block(x, pair, size) -> np.ndarray:
    block = np.zeros((size, size), complex)
    block[pair] = x
    return block


def _most_commuting(generators, candidates, sizes) -> list[np.ndarray] | None:
    """The Hermitian, traceless combination with the smallest commutators; None where it does not commute."""
    hermitian = [
        [(factor * block + np.conj(factor) * block.conj().T) / 2 for block in X]
        for X in candidates
        for factor in (1, 1j)
    ]
    dimension = sum(sizes)
    traceless = []
    for X in hermitian:
        mean = sum(np.trace(block).real for block in X) / dimension
        traceless.append([block - mean * np.eye(len(block)) for block in X])
    flat = np.array([np.concatenate([block.ravel() for block in X]) for X in traceless])
    overlap, rotation = linalg.eigh((flat.conj() @ flat.T).real) if len(flat) else (np.zeros(0), None)
    kept = overlap > 1e-6
    if not kept.any():
        return None
    combine = rotation[:, kept] / np.sqrt(overlap[kept])
    independent = [
        [sum(w * X[b] for w, X in zip(weights, traceless)) for b in range(len(sizes))] for weights in combine.T
    ]
    commutators = np.array([_commutators(generators, X) for X in independent])
    form, rotation = linalg.eigh((commutators.conj() @ commutators.T).real)
    if form[0] > COMMUTES**2:
        return None
    return [sum(w * X[b] for w, X in zip(rotation[:, 0], independent)) for b in range(len(sizes))]


def _commutators(generators, X) -> np.ndarray:
    """All elements of [G, X] of all G."""
    return np.concatenate(
        [
            (g @ X[b] - X[b + shift] @ g).ravel()
            for shift, blocks in generators
            for b, g in enumerate(blocks)
            if g is not None
        ]
    )


def _parts(values) -> list[int]:
    """How many states each eigenvalue of X has."""
    values = np.sort(values)
    cuts = np.flatnonzero(np.diff(values) > 1e-6 * np.ptp(values)) + 1
    return np.diff([0, *cuts, len(values)]).tolist()


def _sector(home: Sector, states, blocks) -> str:
    """The name of the sector that holds most of Xσ, beside that of σ."""
    operators = home.operators
    matrix = sparse.block_diag([X @ block for X, block in zip(states, blocks)], "csr")
    place = np.argsort(operators.order)
    matrix = sparse.coo_matrix(matrix[place][:, place])
    weights = {}
    for name in operators.symmetries.names(1, every=True):
        sector = Sector(operators, name)
        if name != home.name and sector.size:
            weights[name] = np.linalg.norm(sector.overlaps(matrix, 0, sector.size))
    return str(max(weights, key=weights.get))
