"""Methods: one module each (a file or a folder), all with the same six names.

    Options                                 frozen parameters (YAML keys under `method`)
    supports(system)                        None, or the reason why not
    records(system, options)                tuple of restartable pieces of the work of one point
    cost(system, options, record)           Cost of one record
    outputs(system, options)                tuple of Output: what a record returns and collect derives
    run(system, options, record, context)   dict name -> array, for every Output that is stored

and, where they apply,

    LEAN                                    an option that trades time for memory: {key of Options: its value, or
                                            what to add to a dict}
    needs(system, options, record)          indices, within the point, of records whose results this one starts
                                            from, () for none; each comes before this one in `records`. A record is
                                            run once they are done, by whatever ranks and in whatever session, and
                                            finds their results in context.earlier

and, where results are approximate,

    warnings(system, options)               tuple of texts: what is left out, with its size, where it is not small

which `check` prints, and `run` logs itself.

Options() without arguments is a steady-state task. `records`, `cost` and `outputs` raise ValueError, with a
message that names the key, where the options do not fit the system.

The records of an ensemble are equal, independent batches, and its Options extend EnsembleOptions:
the sweep ends a point early where its target_error is reached, and never asks for the records after that.

A method knows nothing of YAML, HDF5, COMM_WORLD or the sweep: `context` is all it is given.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from hpcsim import environment
from hpcsim.observables import Dim, Output

environment.prepare()  # before kernels are compiled


__all__ = ["Cache", "Context", "Cost", "Dim", "Output", "Stopped"]


@dataclass(frozen=True)
class Cost:
    """bytes: memory of the whole group of ranks at its peak; time: seconds on one core, roughly."""

    bytes: float
    time: float


class Stopped(Exception):
    """Raised by `run`, on every rank of the group, if it ends early because should_stop() is True."""


class Cache:
    """What later records of a run may use again: the `size` values that were asked for last.

    The ranks of a group ask in the same order, so what one of them has kept all have. Values that have a method
    `destroy` are destroyed when they are dropped: on all ranks of the group at the same time.
    """

    def __init__(self, size: int = 8):
        self._size, self._kept = size, OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value kept under `key`, or make(), kept from now on."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > self._size:
                self._drop()
        self._kept.move_to_end(key)
        return self._kept[key]

    def _drop(self):
        _, value = self._kept.popitem(last=False)
        getattr(value, "destroy", lambda: None)()

    def clear(self):
        """Drop everything. Collective over the group."""
        while self._kept:
            self._drop()


@dataclass(frozen=True)
class Context:
    """What a record is run with.

    comm        : communicator of this group of ranks (mpi4py)
    key         : two 32-bit words that key the random streams of this point: a hash of the seed
                  and the model's parameters, never of ranks
    should_stop : collective over comm; True once the run has been asked to end. `run` may ask, and then raises
                  Stopped: the record is lost and begins again when the run is resumed
    cache       : values shared by the records of one run, by keys that begin with the name of the method
    earlier     : {index: {output: array}} of the records of this point that `needs` names
    """

    comm: Any
    key: tuple[int, int]
    should_stop: Callable[[], bool]
    cache: Cache = field(default_factory=Cache)
    earlier: dict[int, dict[str, Any]] = field(default_factory=dict)
