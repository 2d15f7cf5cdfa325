"""Means of an ensemble as linear maps of the numbers that its kernels add up along the trajectories.

A method says what each product of site operators is made of, as keys of its own; the keys that are needed tell it
what to measure, and numbers given to the keys make the averages of the numbers those of the Means.
"""

from collections.abc import Callable, Hashable, Iterable

import numpy as np
from scipy import sparse


class Linear:
    """Σ coefficient × number of every element of some Means.

    keys : of all numbers that are needed, in the order in which they first appear
    """

    def __init__(self, means: Iterable, expand: Callable):
        """means : as of hpcsim.observables; expand : ((operator, site), ...) -> [(key, coefficient)], None for the 1"""
        self._means = {mean.name: mean for mean in means}
        self._terms = {name: _terms(mean, expand) for name, mean in self._means.items()}
        needed = (key for terms in self._terms.values() for _, key, _ in terms if key is not None)
        self.keys = tuple(dict.fromkeys(needed))

    def number(self, numbers: dict[Hashable, int], size: int):
        """Give every key one of `size` numbers; the number 1 comes after the last."""
        self._matrices = {}
        for name, terms in self._terms.items():
            elements = self._means[name].elements
            rows = [element for element, _, _ in terms]
            columns = [size if key is None else numbers[key] for _, key, _ in terms]
            values = np.array([coefficient for _, _, coefficient in terms], complex)
            self._matrices[name] = sparse.csr_matrix((values, (rows, columns)), (elements.size, size + 1))
        return self

    def averages(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """{name: (*dims, slots)} from the averages (slots, size) of the numbers; NaN for elements that do not exist."""
        values, found = np.column_stack([values, np.ones(len(values))]).T, {}
        for name, matrix in self._matrices.items():
            mean = self._means[name]
            average = matrix @ values
            average[[element is None for element in mean.elements.flat]] = np.nan
            average = average.reshape(*mean.shape, -1)
            found[name] = average if mean.output.dtype == "c16" else average.real
        return found


def _terms(mean, expand) -> list:
    """(element, key, coefficient) of all terms. Raises ValueError, naming the observable, where one is not known."""
    try:
        return [
            (number, key, weight * coefficient)
            for number, element in enumerate(mean.elements.flat)
            for products in element or ()
            for weight, factors in products
            for key, coefficient in expand(factors)
        ]
    except ValueError as reason:
        raise ValueError(f"method.observables: {mean.name}: {reason}") from None


def refuse_whole(plan):
    """ValueError where the plan has a number of the whole state, which no average over trajectories gives."""
    for mean in plan.means.values():
        if mean.build is None:
            raise ValueError(
                f"method.observables: {mean.name}: is no average over trajectories: it needs the whole density matrix; "
                f"delete it, or use the method liouvillian"
            )


def by_site(factors) -> dict[int, tuple[str, ...]]:
    """{site: operators on it, in their order} of a product ((operator, site), ...), in rising order of the sites."""
    found = {}
    for operator, site in factors:
        found[site] = (*found.get(site, ()), operator)
    return dict(sorted(found.items()))
