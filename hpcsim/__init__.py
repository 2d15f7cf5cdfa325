"""hpcsim: driven-dissipative spin systems on clusters and workstations.

    import hpcsim

    data = hpcsim.solve(model={"name": "gain_loss_lattice", "S": 4, "gain": 0.6, "loss": 0.4})
    hpcsim.run_config("fig2c.yaml", "fig2c.h5")
    hpcsim.collect("collected.h5", ["fig2c.h5"])
    data = hpcsim.open("collected.h5")

solve, run_config, plan, collect, open : see `hpcsim.api`
to_qutip, from_qutip                   : systems to and from QuTiP, see `hpcsim.exchange`
System, Terms, Jumps                   : a system of one's own, in place of a model

Nothing else is imported, and no environment variable is set, until one of them is used.
"""

import importlib

from hpcsim import environment

__version__ = "0.1.0"
_FOUND_IN = {
    "solve": "hpcsim.api",
    "open": "hpcsim.api",
    "run_config": "hpcsim.api",
    "plan": "hpcsim.api",
    "collect": "hpcsim.api",
    "to_qutip": "hpcsim.exchange",
    "from_qutip": "hpcsim.exchange",
    "System": "hpcsim.system",
    "Terms": "hpcsim.system",
    "Jumps": "hpcsim.system",
}
__all__ = [*_FOUND_IN]


def __getattr__(name: str):
    if name not in _FOUND_IN:
        raise AttributeError(f"module 'hpcsim' has no attribute {name!r}")
    environment.prepare()
    return getattr(importlib.import_module(_FOUND_IN[name]), name)


def __dir__():
    return sorted({*globals(), *__all__})
