"""The one description of an open quantum system that every method compiles: tables, symmetries, states, matrices."""

from hpcsim.system.conserved import dissipates, require_unique
from hpcsim.system.operators import BOSON_OPERATORS, HERMITIAN_BOSON_OPERATORS, HERMITIAN_OPERATORS, SPIN_OPERATORS
from hpcsim.system.orbits import lines, lines_along, orbits
from hpcsim.system.parameters import Count, Direction, Initial, Number, Parameters, Rate, Spin, Times, Whole, shown
from hpcsim.system.states import angles
from hpcsim.system.symmetry import Parity, Translation, Transposition, WeakU1
from hpcsim.system.terms import Jumps, System, Terms

__all__ = [
    "BOSON_OPERATORS",
    "HERMITIAN_BOSON_OPERATORS",
    "HERMITIAN_OPERATORS",
    "SPIN_OPERATORS",
    "Count",
    "Direction",
    "Initial",
    "Jumps",
    "Number",
    "Parameters",
    "Parity",
    "Rate",
    "Spin",
    "System",
    "Terms",
    "Times",
    "Translation",
    "Transposition",
    "WeakU1",
    "Whole",
    "angles",
    "dissipates",
    "lines",
    "lines_along",
    "orbits",
    "require_unique",
    "shown",
]
