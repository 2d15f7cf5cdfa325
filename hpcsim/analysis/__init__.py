"""Theory curves and estimates that the `figures` section of a config names.

THEORY    functions of model parameters, drawn as lines and compared with data. Their arguments
          carry the names of the model's parameters and of the data's dimensions; they broadcast,
          and are NaN where they do not hold. One module for each family of models.
ESTIMATES functions of one curve, (x, y, error, ...) -> Estimate; `error` is the standard error of
          y, or None where y has none.
"""

from hpcsim.analysis import all_to_all, estimates, gain_loss, spins

THEORY = {f.__name__: f for family in (gain_loss, spins, all_to_all) for f in family.THEORY}
ESTIMATES = {f.__name__: f for f in estimates.ESTIMATES}
