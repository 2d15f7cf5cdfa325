"""Standard errors are honest: over 40 seeds the pulls (value - exact)/error have the mean 0 and the variance 1."""

import runpy

import numpy as np
import pytest
from conftest import ROOT

BENCHMARK = runpy.run_path(str(ROOT / "jobs/benchmarks/pulls.py"), run_name="pulls")
SEEDS, RECORDS = 40, 32
# functions of averages have a bias of 1/n of all trajectories, which must be small against their error
BATCH = {"trajectories": 16, "phase_space": 32}
UNKNOWN = {"correlation_length"}  # NaN wherever no decay is seen at three standard errors: a choice of the pulls


@pytest.mark.parametrize("case", BENCHMARK["CASES"])
def test_pulls_of_every_output(case):
    """Twice the error, or half of it, would give the variance 1/4 or 4."""
    student = (RECORDS - 1) / (RECORDS - 3)
    found = BENCHMARK["pulls"](case, SEEDS, RECORDS, batch=BATCH[case])
    assert {"Sx", "Sy", "Sz", "var_Sx", "S_perp", "squeezing", "squeezing_minimum"} <= found.keys()
    for name in found.keys() - UNKNOWN:
        pull = found[name].reshape(SEEDS, -1)
        pull = pull[:, np.isfinite(pull).all(axis=0)]
        assert pull.size, name
        assert (np.abs(pull.mean(axis=0)) < 4 * np.sqrt(student / SEEDS)).all(), (name, pull.mean(axis=0))
        variance = pull.var(axis=0, ddof=1) / student
        assert ((variance > 0.3) & (variance < 2.3)).all(), (name, variance)
