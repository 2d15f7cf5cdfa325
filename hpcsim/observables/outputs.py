"""Named results and their dimensions: what a method declares, a run file stores and `collect` writes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dim:
    """A named dimension with its coordinate: numbers or strings, and their unit."""

    name: str
    values: tuple
    units: str = "1"


@dataclass(frozen=True)
class Output:
    """One named result.

    A record returns an array of shape [len(d.values) for d in dims] for each output that is `stored`.
    `collect` reduces the records of a point by `reduce`:

    single       the only record's value
    mean         average over the records, which are independent batches of equal weight,
                 with its standard error X_stderr
    function     the finishing function of this name (observables.FUNCTIONS) of the averages of `sources`, with a
                 jackknife standard error; nothing is stored for it
    min          smallest over the records
    at_min       sources (other,): the value in the record that holds the minimum of `other`
    merge        concatenate the records along the last dimension, sort by falling real part of
                 sources[0] (or of itself), keep as many as the dimension has
    reaches      sources (bound, rates): 1 if the smallest bound is not below the smallest rate, or with merged
                 eigenvalues below the largest decay rate of those kept, else 0; nothing is stored for it
    spacing      sources (x,): the largest minus the second-largest of all elements of x; nothing is stored for it
    imbalance    sources (y, x): |smallest y - spacing of x|; likewise

    internal : stored in the run file as a source of others, and left out of the collected file
    """

    name: str
    dims: tuple[Dim, ...] = ()
    units: str = "1"
    long_name: str = ""
    dtype: str = "f8"
    reduce: str = "single"
    sources: tuple[str, ...] = ()
    function: str = ""
    internal: bool = False

    @property
    def stored(self) -> bool:
        """Whether a record returns it (else it is derived from its sources)."""
        return self.reduce not in ("function", "variance", "norm", "decay_length", "reaches", "spacing", "imbalance")


def inverse(units: str) -> str:
    """The unit of times, from that of the model's rates."""
    return "1" if units == "1" else f"1/{units}"


def time_dim(times: tuple[float, ...], units: str) -> Dim:
    """The dimension of results at given times; units: of the model's rates."""
    return Dim("time", times, inverse(units))
