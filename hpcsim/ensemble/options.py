"""Options of every ensemble, and the split of its trajectories over records and ranks."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from hpcsim.ensemble.burn_in import WINDOWS
from hpcsim.ensemble.stopping import FIRST_LOOK
from hpcsim.system import Count, Number, Parameters

MOST_RECORDS = 10**6  # of a point
MOST_SAMPLES = 10**7  # of a trajectory: their times alone are 80 MB


def or_auto(**bounds):
    """Validator of a number within bounds, or the word auto: one message where it is neither."""
    number = TypeAdapter(Annotated[Number, Field(**bounds)])

    def check(value):
        try:
            return value if value in ("auto", None) else number.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['msg'].removeprefix('Value error, ')}, or auto") from None

    return BeforeValidator(check)


def enough_for_burn_in(samples: int, duration: float, batch: int):
    """Raises ValueError where the end of the burn-in could not be found from the data."""
    if samples < WINDOWS:
        raise ValueError(
            f"burn_in = auto: needs at least {WINDOWS} samples, and duration = {duration:g} has "
            f"{samples}; lower sample_every"
        )
    if batch < 2:
        raise ValueError("burn_in = auto: needs batch >= 2, to compare times by their scatter over trajectories")


def number_of_samples(samples: float) -> int:
    """A whole number of samples of a trajectory. Raises ValueError where they are more than MOST_SAMPLES."""
    if not samples < MOST_SAMPLES + 1:
        raise ValueError(f"{samples:.3g} samples of each trajectory, more than {MOST_SAMPLES}; raise sample_every")
    return int(samples)


class EnsembleOptions(Parameters):
    """Options of every method that averages over trajectories.

    trajectories : how many per point
    batch        : how many make one record; standard errors come from the spread of the records. By default the largest
                   divisor of trajectories up to 64 that leaves at least 8 records, 96 with a target_error
    target_error : {output: standard error, ...}: end a point, after 48 records or more, where the first sixth of
                   them tells with a confidence of 90 % that all elements of these outputs are known as well (see
                   hpcsim.ensemble.stopping); trajectories is then how many at most. The end depends on nothing but
                   the records before it: not on the number of ranks, nor on kills
    """

    LARGEST_BATCH: ClassVar[int] = 64
    trajectories: Count = 256
    batch: Count | None = None
    target_error: dict[str, Annotated[Number, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def _whole_batches(self):
        if self.batch is None:  # an option like one that is written: the resolved config states it
            object.__setattr__(self, "batch", self._default_batch())
        if self.trajectories % self.batch or self.trajectories < 2 * self.batch:
            fix = max(2, round(self.trajectories / self.batch)) * self.batch
            raise ValueError(
                f"trajectories = {self.trajectories}, batch = {self.batch}: trajectories must be batch times "
                f"a whole number of records, at least 2 (a standard error needs two); for example "
                f"trajectories: {fix}"
            )
        if self.batches > MOST_RECORDS:
            raise ValueError(
                f"trajectories = {self.trajectories}, batch = {self.batch}: {self.batches} records for each point, "
                f"more than {MOST_RECORDS}; raise batch"
            )
        if self.target_error and self.batches <= FIRST_LOOK:
            raise ValueError(
                f"target_error: standard errors are first looked at after {FIRST_LOOK} records, and trajectories = "
                f"{self.trajectories}, the most to take, are {self.batches} of batch = {self.batch}; raise "
                f"trajectories, or lower batch"
            )
        return self

    def _default_batch(self) -> int:
        records = 2 * FIRST_LOOK if self.target_error else 8
        fitting = range(min(self.LARGEST_BATCH, self.trajectories // records), 0, -1)
        return next((batch for batch in fitting if self.trajectories % batch == 0), 1)

    @property
    def batches(self) -> int:
        """Number of records of one point."""
        return self.trajectories // self.batch


def share(batch: int, comm) -> range:
    """The trajectories, out of range(batch), that this rank of `comm` computes."""
    return range(batch * comm.rank // comm.size, batch * (comm.rank + 1) // comm.size)


def gather(values: np.ndarray, comm) -> np.ndarray:
    """Join every rank's [..., its trajectories] along the last axis, in their order, on all ranks."""
    return np.concatenate(comm.allgather(values), axis=-1)
