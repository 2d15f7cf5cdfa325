"""What ranks fetch from each other of a vector that they share: no rank ever holds all of it."""

import numpy as np

from hpcsim.solvers.petsc import row_range


class Halo:
    """Rows of a shared array that one rank needs, from those who have them.

    own    : (start, stop) of the rows that this rank has; those of the ranks follow each other
    needed : numbers of rows, sorted, no two alike
    """

    def __init__(self, comm, own: tuple[int, int], needed: np.ndarray):
        self._comm = comm
        starts = np.array(comm.allgather(own[0]))
        parts = np.split(needed, np.searchsorted(needed, starts[1:]))
        self._received = np.array([len(part) for part in parts])
        asked = comm.alltoall([part - start for part, start in zip(parts, starts)])
        self._sent, self._rows = np.array([len(part) for part in asked]), np.concatenate(asked)

    def fetch(self, x: np.ndarray) -> np.ndarray:
        """The needed rows, in their order, from this rank's rows x (rows, ...). Collective."""
        given, width = np.ascontiguousarray(x[self._rows]), int(np.prod(x.shape[1:]))
        found = np.empty((self._received.sum(), *x.shape[1:]))
        self._comm.Alltoallv((given, self._sent * width), (found, self._received * width))
        return found


class Transposed:
    """Columns of a matrix of two blocks (2, width, width) that ranks share by rows.

    A piece is rows first..last-1 of a block, from `offset` on among those of the rank, and it belongs to these columns
    of another block, the one across: itself, or the other one where `odd`.
    mine : the pieces of this rank, (block, first, last, offset)
    """

    def __init__(self, comm, width: int, odd: int):
        self._comm, self._width, self._odd = comm, width, odd
        self._pieces = [_pieces(*rows, width) for rows in comm.allgather(row_range(comm, 2 * width))]
        self.mine = self._pieces[comm.rank]

    def columns(self, x: np.ndarray) -> list[np.ndarray]:
        """The columns of each own piece, (width, last - first), from the rows x. Collective."""
        if self._comm.size == 1:
            return [x[self._within(piece, self.mine)] for piece in self.mine]
        given = [[x[self._within(piece, self.mine), slice(*piece[1:3])] for piece in pieces] for pieces in self._pieces]
        shapes = [[self._shape(piece, pieces) for piece in self.mine] for pieces in self._pieces]
        found = [np.empty((self._width, piece[2] - piece[1])) for piece in self.mine]
        for parts, pieces in zip(self._swapped(given, shapes), self._pieces):
            for array, part, piece in zip(found, parts, self.mine):
                array[self._across(piece, pieces)] = part
        return found

    def room(self, out: np.ndarray) -> list[np.ndarray]:
        """An array like the `columns` of each own piece, to be added to; one rank alone adds to `out` itself."""
        if self._comm.size == 1:
            return [out[self._within(piece, self.mine)] for piece in self.mine]
        return [np.zeros((self._width, piece[2] - piece[1])) for piece in self.mine]

    def add(self, columns: list[np.ndarray], out: np.ndarray):
        """Add what all ranks have put into the `room` of their pieces to the rows `out`. Collective."""
        if self._comm.size == 1:
            return
        given = [
            [array[self._across(piece, pieces)] for array, piece in zip(columns, self.mine)] for pieces in self._pieces
        ]
        shapes = [[self._shape(piece, self.mine) for piece in pieces] for pieces in self._pieces]
        for parts, pieces in zip(self._swapped(given, shapes), self._pieces):
            for part, piece in zip(parts, pieces):
                out[self._within(piece, self.mine), slice(*piece[1:3])] += part

    def _rows(self, piece, pieces) -> tuple[int, int, int]:
        """first, last and offset of the rows that a rank with these pieces has of the block across a piece."""
        block = piece[0] ^ self._odd
        return next(((first, last, offset) for b, first, last, offset in pieces if b == block), (0, 0, 0))

    def _across(self, piece, pieces) -> slice:
        """Those rows, as rows of the block."""
        return slice(*self._rows(piece, pieces)[:2])

    def _within(self, piece, pieces) -> slice:
        """Those rows, as rows of the rank."""
        first, last, offset = self._rows(piece, pieces)
        return slice(offset, offset + last - first)

    def _shape(self, piece, pieces) -> tuple[int, int]:
        first, last, _ = self._rows(piece, pieces)
        return last - first, piece[2] - piece[1]

    def _swapped(self, given, shapes) -> list[list[np.ndarray]]:
        """given[r] for rank r, and shapes[r] of what comes from it: the arrays that have come. Collective."""
        flat = np.concatenate([part.ravel() for parts in given for part in parts])
        sent = [sum(part.size for part in parts) for parts in given]
        sizes = [rows * columns for each in shapes for rows, columns in each]
        received = np.empty(sum(sizes))
        self._comm.Alltoallv((flat, sent), (received, [sum(r * c for r, c in each) for each in shapes]))
        parts = iter(np.split(received, np.cumsum(sizes)[:-1]))
        return [[next(parts).reshape(shape) for shape in each] for each in shapes]


def _pieces(start: int, stop: int, width: int) -> list[tuple[int, int, int, int]]:
    """Rows start..stop-1 of two blocks of `width`, as pieces of these."""
    found = []
    for block in range(2):
        first, last = max(start - block * width, 0), min(stop - block * width, width)
        if first < last:
            found.append((block, first, last, block * width + first - start))
    return found
