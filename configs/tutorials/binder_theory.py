"""What independent spins 1/2 would show."""

import numpy as np


def independent(sites):
    """The Binder cumulant of N independent spins 1/2 with ⟨Sx⟩ = 0, where ⟨M⁴⟩ = (3 - 2/N) ⟨M²⟩²."""
    return 2 / (3 * np.prod(sites, axis=0))
