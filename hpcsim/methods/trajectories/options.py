"""Options of the method `trajectories`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hpcsim.ensemble.options import EnsembleOptions, enough_for_burn_in, or_auto
from hpcsim.methods.trajectories.results import Items
from hpcsim.system import Count, Number, Times, starts

STEADY_STATE = {"burn_in": 200.0, "duration": 200.0, "sample_every": 1.0}


class Options(EnsembleOptions):
    """Every time is in the model's unit of time.

    task         : steady_state (averaged over time after burn_in) or evolve (at given times)
    initial      : [polar, azimuth] in units of π of the spin coherent state of all sites, or one for each
                   sublattice by name; along x by default. Or any other that liouvillian takes: of a mixed one every
                   trajectory draws a pure state
    tolerance    : of each step: norm of the last term kept of the Taylor series of a normalised state, and
                   relative distance of its squared norm from the random number where a jump is placed
    observables  : more to measure: see hpcsim.observables; any product of site operators, and entanglement_entropy, of
                   half the sites along a trajectory. Spins and their variances always are
    distribute   : the ranks of a group (run.ranks_per_point) share each state vector instead of the trajectories, for
                   vectors that outgrow one rank. 2, 4, 8, ... ranks are used of spins 1/2 (the levels of the first
                   sites, in general, are the ranks), further ones wait
    burn_in      : steady_state: time before averaging, 200 by default; auto: found from the data, between 0 and half
                   of duration (see burn_in_used)
    duration     : steady_state: time of averaging, 200 by default; with burn_in: auto, time of everything
    sample_every : steady_state: time between samples, 1 by default
    times        : evolve: the times of the results, a list or linspace: [first, last, count]
    """

    trajectories: Count = 64
    LARGEST_BATCH: ClassVar[int] = 8
    task: Literal["steady_state", "evolve"] = "steady_state"
    initial: starts.accepting(*starts.EXAMPLES) = (0.5, 0.0)
    tolerance: Annotated[Number, Field(gt=0, le=1e-2)] = 1e-6
    observables: Items = ()
    distribute: bool = False
    burn_in: Annotated[float | Literal["auto"] | None, or_auto(ge=0)] = None
    duration: Annotated[Number, Field(gt=0)] | None = None
    sample_every: Annotated[Number, Field(gt=0)] | None = None
    times: Times | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_times(cls, values):
        if isinstance(values, dict) and values.get("task", "steady_state") == "steady_state":
            return STEADY_STATE | values
        return values

    @model_validator(mode="after")
    def _times_of_the_task(self):
        for task, keys in {"steady_state": tuple(STEADY_STATE), "evolve": ("times",)}.items():
            for key in keys:
                if task == self.task and getattr(self, key) is None:
                    raise ValueError(f"{key} is missing; task: {task} requires it")
                if task != self.task and getattr(self, key) is not None:
                    raise ValueError(f"{key} belongs to task: {task}, not to {self.task}; delete it")
        if self.task == "steady_state" and self.sample_every > self.duration * (1 + 1e-9):
            raise ValueError(
                f"sample_every = {self.sample_every:g}: longer than duration = {self.duration:g}; "
                f"no sample would be taken"
            )
        if self.burn_in == "auto":
            enough_for_burn_in(int(self.duration / self.sample_every * (1 + 1e-9)), self.duration, self.batch)
        return self
