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
                                            from, () for none; no two may wait for each other. A record is run once
                                            they are done, by whatever ranks and in whatever session, and finds
                                            their results in context.earlier
    DRIVEN                                  the tasks that take a System with a `drive`, whose coefficients depend on
                                            time, up to options.times[-1]: ("evolve",); else none
    steady_start(system, options, where)    finds what the method itself keeps of the steady state of another system,
                                            () -> any, for a start of the kind steady_state: context.shared_start gives
                                            it; else the state is that of the method liouvillian
    DEVICES                                 what it can compute on, ("cpu", "gpu"); else ("cpu",)

and, where results are approximate,

    warnings(system, options)               tuple of texts: what is left out, with its size, where it is not small

which `check` prints, and `run` logs itself.

Options() without arguments is a steady-state task. `records`, `cost` and `outputs` raise ValueError, with a
message that names the key, where the options do not fit the system.

The records of an ensemble are equal, independent batches, and its Options extend EnsembleOptions:
the sweep ends a point early where its target_error is reached, and never asks for the records after that.

A method knows nothing of YAML, HDF5, COMM_WORLD or the sweep: `context` is all it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hpcsim import environment
from hpcsim.observables import Dim, Output
from hpcsim.system import Cache

environment.prepare()  # before kernels are compiled


__all__ = ["Cache", "Context", "Cost", "Dim", "Output", "Stopped"]


@dataclass(frozen=True)
class Cost:
    """bytes: memory of the whole group of ranks at its peak; time: seconds on one core, roughly."""

    bytes: float
    time: float


class Stopped(Exception):
    """Raised by `run`, on every rank of the group, if it ends early because should_stop() is True."""


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
    device      : cpu, or one of the method's DEVICES
    saved_state : (item) -> the density matrix (D, D), or the pure state (D,), that an `initial` of a kind in
                  hpcsim.system.starts.OF_RUN names: of another file, or of the same model with other parameters
    """

    comm: Any
    key: tuple[int, int]
    should_stop: Callable[[], bool]
    cache: Cache = field(default_factory=Cache)
    earlier: dict[int, dict[str, Any]] = field(default_factory=dict)
    device: str = "cpu"
    saved_state: Callable[[dict], Any] | None = None

    def start(self, item: dict) -> Any:
        """What saved_state gives. Raises RuntimeError: the file has changed since the run was planned, or the state
        is not unique."""
        try:
            return self.saved_state(item)
        except ValueError as error:
            raise RuntimeError(str(error)) from None

    def shared_start(self, item: dict) -> Any:
        """The same, found by one rank for all of the group. Collective."""
        found, error = None, None
        if self.comm.rank == 0:
            try:
                found = self.start(item)
            except RuntimeError as raised:
                error = raised
        found, error = self.comm.bcast((found, error))
        if error is not None:
            raise error
        return found
