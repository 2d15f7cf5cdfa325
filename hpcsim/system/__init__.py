"""The one description of an open quantum system that every method compiles: tables, symmetries, states, matrices."""

from hpcsim.system import starts
from hpcsim.system.action import Action, order_of
from hpcsim.system.cache import Cache
from hpcsim.system.cartesian import cartesian, left_over
from hpcsim.system.conserved import dissipates, require_unique
from hpcsim.system.invariance import holds
from hpcsim.system.operators import BOSON_OPERATORS, HERMITIAN_BOSON_OPERATORS, HERMITIAN_OPERATORS, SPIN_OPERATORS
from hpcsim.system.orbits import connected, lines, lines_along, orbits
from hpcsim.system.parameters import (
    MOST_SITES,
    Count,
    Direction,
    Frequencies,
    Initial,
    Number,
    Parameters,
    Rate,
    Spin,
    Times,
    Whole,
    axis_value,
    keys_of_task,
    meant,
    shown,
    spaced,
)
from hpcsim.system.states import angles, coherent_state, spin_coherent
from hpcsim.system.symmetry import (
    Parity,
    Symmetry,
    Translation,
    Transposition,
    WeakU1,
    actions,
    charge_weights,
    charges,
    conserves_parity,
    gauge_symmetries,
    translations,
    transposition,
)
from hpcsim.system.terms import Jumps, System, Terms

__all__ = [
    "Action",
    "BOSON_OPERATORS",
    "Cache",
    "HERMITIAN_BOSON_OPERATORS",
    "HERMITIAN_OPERATORS",
    "MOST_SITES",
    "SPIN_OPERATORS",
    "Count",
    "Direction",
    "Frequencies",
    "Initial",
    "Jumps",
    "Number",
    "Parameters",
    "Parity",
    "Rate",
    "Spin",
    "Symmetry",
    "System",
    "Terms",
    "Times",
    "Translation",
    "Transposition",
    "WeakU1",
    "Whole",
    "actions",
    "angles",
    "axis_value",
    "cartesian",
    "charge_weights",
    "charges",
    "connected",
    "coherent_state",
    "conserves_parity",
    "dissipates",
    "gauge_symmetries",
    "holds",
    "left_over",
    "keys_of_task",
    "lines",
    "lines_along",
    "orbits",
    "order_of",
    "require_unique",
    "meant",
    "shown",
    "spaced",
    "spin_coherent",
    "starts",
    "translations",
    "transposition",
]
