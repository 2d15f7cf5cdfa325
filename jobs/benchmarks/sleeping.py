"""A method whose records do nothing but sleep, as many seconds as the field is strong."""

import time

import numpy as np

from hpcsim.methods import Cost, Output
from hpcsim.system import Parameters


class Options(Parameters):
    """None."""


def supports(system):
    """Everything."""


def records(system, options):
    """One."""
    return (0,)


def cost(system, options, record):
    """Nothing is known of the lengths: what is measured is the queue."""
    return Cost(1e3, 1.0)


def outputs(system, options):
    """How long it slept."""
    return (Output("slept"),)


def run(system, options, record, context):
    """Sleep."""
    (field,) = (terms.coefficients[0] for terms in system.hamiltonian if terms.operators == ("Sx",))
    time.sleep(abs(field))
    return {"slept": np.float64(field)}
