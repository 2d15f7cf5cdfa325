"""How fast this processor is, against those that the estimates of `cost` were fitted on.

`hpcsim doctor --calibrate` measures a small problem of each kind of work, a method with its task, and keeps measured
over estimated seconds in a file, under the processor's name: the nodes of a cluster often share a home. Plans multiply
their estimates with it. A kind that was not measured has the mean of its method, or of all.
"""

import json
import math
import os
import platform
from pathlib import Path

LIMITS = 0.05, 20.0  # of a factor: beyond them something else than the processor was measured


def kind_of(method: dict) -> str:
    """The kind of work of a resolved section `method`."""
    return f"{method['name']} {method.get('task', '')}".strip()


def path() -> Path:
    """The file: HPCSIM_SPEED, or one in the user's folder for what can be made again."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpcsim"
    return Path(os.environ.get("HPCSIM_SPEED") or folder / "speed.json")


def processor() -> str:
    """Its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def known() -> dict[str, float]:
    """{kind of work: measured over estimated seconds} on this processor; empty where it was not calibrated."""
    try:
        found = json.loads(path().read_text())[processor()]
        return {str(kind): float(factor) for kind, factor in found.items() if LIMITS[0] <= factor <= LIMITS[1]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def factor(factors: dict[str, float], kind: str) -> float:
    """The factor of a kind of work, if it was measured; else the geometric mean of its method's, or of all; else 1."""
    method = kind.split()[0]
    for chosen in ([kind], [each for each in factors if each.split()[0] == method], list(factors)):
        if found := [math.log(factors[each]) for each in chosen if each in factors]:
            return math.exp(sum(found) / len(found))
    return 1.0
