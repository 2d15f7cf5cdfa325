"""The Binder cumulant U = 1 - ⟨M⁴⟩/(3⟨M²⟩²) of M = Σ_i Sx_i / N.

It is 0 where M is normally distributed, and 2/3 where M = ±m: it shows whether the spins point along one axis.
"""

from itertools import product

import numpy as np

from hpcsim.observables import Output, Products, formula, number
from hpcsim.system import Number, Parameters


class Params(Parameters):
    """
    scale : M is multiplied by it; the cumulant does not depend on it
    """

    scale: Number = 1.0


def observable(system, params):
    return [moment(system, params, 2), moment(system, params, 4), formula("binder", "1 - M4/(3*M2**2)", long_name=NAME)]


NAME = "Binder cumulant 1 - ⟨M⁴⟩/3⟨M²⟩²"


def moment(system, params, power):
    """⟨M^power⟩ as the sum of all products of `power` operators Sx."""
    sites = np.array(list(product(range(system.sites), repeat=power)))
    weights = np.full(len(sites), (params.scale / system.sites) ** power)
    output = Output(f"M{power}", units=f"ħ^{power}", long_name=f"⟨M^{power}⟩, M = Σ Sx/N")
    return number(output, Products(("Sx",) * power, sites, weights))
