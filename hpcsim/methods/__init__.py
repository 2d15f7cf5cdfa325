"""Methods: one module each (a file or a folder), all with the same six names.

    Options                                 frozen parameters (YAML keys under `method`)
    supports(system)                        None, or the reason why not
    records(system, options)                tuple of restartable pieces of the work of one point
    cost(system, options, record)           Cost of one record
    outputs(system, options)                tuple of Output: what a record returns and collect derives
    run(system, options, record, context)   dict name -> array, for every Output with no sources

and, where an option trades time for memory, LEAN, {key of Options: its value, or what to add to a dict}.

Options() without arguments is a steady-state task. `records`, `cost` and `outputs` raise ValueError, with a
message that names the key, where the options do not fit the system.

The records of an ensemble are equal, independent batches, and its Options extend EnsembleOptions:
the sweep ends a point early where its target_error is reached, and never asks for the records after that.

A method knows nothing of YAML, HDF5, COMM_WORLD or the sweep: `context` is all it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dim:
    """A named dimension with its coordinate: numbers or strings, and their unit."""

    name: str
    values: tuple
    units: str = "1"


@dataclass(frozen=True)
class Output:
    """One named result.

    A record returns an array of shape [len(d.values) for d in dims] for each output without
    sources. `collect` reduces the records of a point by `reduce`:

    single       the only record's value
    mean         average over the records, which are independent batches of equal weight,
                 with its standard error X_stderr
    variance     sources (second moment, mean): second - mean², both averaged over the records first,
                 with a jackknife standard error; nothing is stored for it
    norm         sources (x, y): sqrt(x² + y²), likewise
    decay_length sources (correlation,): ξ of C(s) = A (μ^s + μ^(L-s)), μ = exp(-1/ξ), over the periodic
                 dimension `distance`, s = 0 ... L/2, likewise; NaN where C does not decay
    min          smallest over the records
    at_min       sources (other,): the value in the record that holds the minimum of `other`
    merge        concatenate the records along the last dimension, sort by falling real part of
                 sources[0] (or of itself), keep as many as the dimension has
    """

    name: str
    dims: tuple[Dim, ...] = ()
    units: str = "1"
    long_name: str = ""
    dtype: str = "f8"
    reduce: str = "single"
    sources: tuple[str, ...] = ()

    @property
    def stored(self) -> bool:
        """Whether a record returns it (else it is derived from its sources)."""
        return self.reduce not in ("variance", "norm", "decay_length")


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
    """

    comm: Any
    key: tuple[int, int]
    should_stop: Callable[[], bool]
