"""`hpcsim doctor --calibrate`: small problems of each kind of work, whose seconds correct the estimates of others."""

import json
import time
from collections.abc import Iterator
from typing import NamedTuple

from hpcsim.run import config, execute, speed
from hpcsim.run import plan as planning
from hpcsim.store.whole import write_whole

CHAIN = {"name": "xyz_lattice", "convention": "lee2013", "Jx": 0.7, "Jy": 1.2, "Jz": 1.0, "decay": 1.0}
DIMER = {"name": "gain_loss_lattice", "g": 1.0, "gain": 1.0, "loss": 1.0}
ALL = {"name": "all_to_all_xyz", "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0}
LATER = {"task": "evolve", "times": [0, 5, 10]}
SMALL = {"sites": 3}, {}
# kind of work: (model, method, what makes both small, so that the kernels are compiled)
CASES: dict[str, tuple[dict, dict, tuple[dict, dict]]] = {
    "liouvillian steady_state": (DIMER | {"S": 30}, {}, ({"S": 5}, {})),
    "liouvillian gap": (DIMER | {"S": 9}, {}, ({"S": 5}, {})),
    "liouvillian spectrum": (CHAIN | {"sites": 6}, {"eigenvalues": 4}, ({"sites": 4}, {})),
    "liouvillian evolve": (CHAIN | {"sites": 8}, LATER, SMALL),
    "liouvillian antigap": (ALL | {"N": 8}, {}, ({"N": 4}, {})),
    "permutation steady_state": (ALL | {"N": 95}, {}, ({"N": 4}, {})),
    "permutation evolve": (ALL | {"N": 95}, LATER, ({"N": 4}, {})),
    "gaussian steady_state": (CHAIN | {"sites": 4000, "S": 10, "convention": "huber2021"}, {}, SMALL),
    "mean_field steady_state": (CHAIN | {"sites": 200, "Jy": 0.8}, {}, SMALL),  # which comes to rest
    "phase_space steady_state": (DIMER | {"cells": 50, "S": 100}, {}, ({"cells": 2}, {"burn_in": 1, "duration": 1})),
    "trajectories evolve": (CHAIN | {"sites": 11}, LATER | {"trajectories": 64}, SMALL),
    "matrix_product steady_state": (
        CHAIN | {"sites": 4, "periodic": True},
        {"bond_dimension": 8, "dt": 0.1},
        ({}, {"bond_dimension": 2, "dt": 0.4}),
    ),
}


class Measured(NamedTuple):
    """A kind of work, and its estimated and measured seconds on one core."""

    kind: str
    estimated: float
    measured: float

    @property
    def factor(self) -> float:
        return min(max(self.measured / self.estimated, speed.LIMITS[0]), speed.LIMITS[1])


def measure() -> Iterator[Measured]:
    """All CASES, in turn: a second or so each, and what compiling takes."""
    for kind, (model, method, small) in CASES.items():
        name, task = kind.split()
        method = {"name": name, "task": task} | method
        first, whole = (
            config.resolve({"model": model | less, "method": method | shorter}) for less, shorter in (small, ({}, {}))
        )
        execute.compute(lambda first=first: planning.plan(first))
        plan = planning.plan(whole)
        began = time.process_time()
        execute.compute(lambda plan=plan: plan)
        estimated = float(plan.time.sum()) / speed.factor(speed.known(), kind)
        yield Measured(kind, estimated, time.process_time() - began)


def keep(found: list[Measured]):
    """Store the factors, beside those of other processors. Raises StoreError where they cannot be written."""
    try:
        others = dict(json.loads(speed.path().read_text()))
    except (OSError, ValueError, TypeError):
        others = {}
    factors = {each.kind: each.factor for each in found}
    write_whole(speed.path(), json.dumps(others | {speed.processor(): factors}, indent=1).encode())
