"""Two finishing functions for tests of how averages are reduced: of single numbers, as no observable has them."""

import numpy as np

from hpcsim import observables
from hpcsim.observables.terms import Function

VARIANCE, NORM = "variance_of_tests", "norm_of_tests"
observables.FUNCTIONS.update(
    {VARIANCE: Function(lambda second, mean: second - mean**2), NORM: Function(lambda x, y: np.hypot(x, y))}
)
