"""Site indices and bonds of the lattices that models are made of."""
import numpy as np


def chain_bonds(cells: int, periodic: bool) -> np.ndarray:
    """Ordered neighbours (n, n+1) of a chain: (bonds, 2), the last bond closing a periodic one.

    A periodic chain of one cell has no neighbour.
    """
    first = np.arange(cells if periodic and cells > 1 else cells - 1)
    return np.column_stack([first, (first + 1) % cells])
