"""Options of the method `trajectories`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hpcsim.ensemble.options import EnsembleOptions, enough_for_burn_in, or_auto
from hpcsim.methods.trajectories.results import Items
from hpcsim.observables import currents, two_times
from hpcsim.system import Count, Number, Times, keys_of_task, starts

STEADY = {"burn_in": 200.0, "duration": 200.0, "sample_every": 1.0}
DEFAULTS = {"steady_state": STEADY, "correlation": STEADY | {"sample_every": 20.0}}
DEFAULTS["counting"] = DEFAULTS["correlation"]
IN_TIME = ("steady_state", "correlation", "counting")
KEYS = {  # which tasks require a key, and no others have
    **dict.fromkeys(STEADY, IN_TIME),
    "times": ("evolve", "correlation"),
    "functions": ("correlation",),
    "channels": ("counting",),
}


class Options(EnsembleOptions):
    """Every time is in the model's unit of time.

    task         : steady_state (averaged over time after burn_in) or evolve (at given times); and in the steady state
                   correlation (two-time functions ⟨A(τ) B(0)⟩ and g2, see `correlation`) or counting (mean, variance
                   and waiting times of jumps, see `counting`)
    initial      : [polar, azimuth] in units of π of the spin coherent state of all sites, or one for each
                   sublattice by name; along x by default. Or any other that liouvillian takes: of a mixed one every
                   trajectory draws a pure state
    unravelling  : jumps; or homodyne, heterodyne: every channel is measured by such a detector, see `diffusion`.
                   Averages of observables are the same, entropies along a trajectory are not; task: counting then
                   gives the mean of the currents and the variance of their integrals per time
    phase        : homodyne, heterodyne: of the quadrature L exp(-iφ) + h.c. that is measured, φ in units of π
    step         : homodyne, heterodyne: of time, at most; the error of averages is of second order in it. By default
                   1/10 of the inverse of the largest rate of a site
    tolerance    : of each step: norm of the last term kept of the Taylor series of a normalised state, and
                   relative distance of its squared norm from the random number where a jump is placed
    observables  : more to measure: see hpcsim.observables; any product of site operators, and entanglement_entropy, of
                   half the sites along a trajectory. Spins and their variances always are
    distribute   : the ranks of a group (run.ranks_per_point) share each state vector instead of the trajectories, for
                   vectors that outgrow one rank. 2, 4, 8, ... ranks are used of spins 1/2 (the levels of the first
                   sites, in general, are the ranks), further ones wait
    burn_in      : steady_state, correlation, counting: time before averaging, 200 by default; of steady_state also
                   auto: found from the data, between 0 and half of duration (see burn_in_used)
    duration     : steady_state, correlation, counting: time of averaging, 200 by default; with burn_in: auto, time of
                   everything
    sample_every : steady_state: time between samples, 1 by default; correlation: time between those when B acts, 20 by
                   default; counting: length of the windows in which jumps are counted, 20 by default: longer than the
                   jumps of neighbouring windows but one are correlated
    times        : evolve: the times of the results, a list or linspace: [first, last, count]; correlation: the delays τ
    functions    : correlation: a list of {name: g1, A: [[S+, 0]], B: [[S-, 0]]}, or of {name: g2, lowering:
                   [[S-, 0]]}, as the method liouvillian has them
    channels     : counting: a list of {name: photons, jumps: S-}, or {name: net, jumps: {S-: 1, S+: -1}, sites: [0]},
                   as the method liouvillian has them: NAME is the mean number per time, NAME_variance its variance per
                   time, NAME_fano their ratio
    waiting      : counting: edges of the bins of times between counted jumps, a list or linspace: [first, last, count];
                   NAME_waiting is their density
    """

    trajectories: Count = 64
    LARGEST_BATCH: ClassVar[int] = 8
    task: Literal["steady_state", "evolve", "correlation", "counting"] = "steady_state"
    initial: starts.accepting(*starts.EXAMPLES) = (0.5, 0.0)
    unravelling: Literal["jumps", "homodyne", "heterodyne"] = "jumps"
    phase: Number = 0.0
    step: Annotated[Number, Field(gt=0)] | None = None
    tolerance: Annotated[Number, Field(gt=0, le=1e-2)] = 1e-6
    observables: Items = ()
    distribute: bool = False
    burn_in: Annotated[float | Literal["auto"] | None, or_auto(ge=0)] = None
    duration: Annotated[Number, Field(gt=0)] | None = None
    sample_every: Annotated[Number, Field(gt=0)] | None = None
    times: Times | None = None
    functions: two_times.Functions = ()
    channels: currents.Channels = ()
    waiting: Times | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_times(cls, values):
        return DEFAULTS.get(values.get("task", "steady_state"), {}) | values if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _times_of_the_task(self):
        keys_of_task(self, KEYS)
        self._diffusive()
        if self.task in ("correlation", "counting"):
            self._along_trajectories()
        windows = 2 if self.task == "counting" else 1
        if self.task != "evolve" and windows * self.sample_every > self.duration * (1 + 1e-9):
            raise ValueError(
                f"sample_every = {self.sample_every:g}: longer than {'half of ' * (windows - 1)}duration = "
                f"{self.duration:g}; no sample would be taken"
            )
        if self.waiting is not None and self.task != "counting":
            raise ValueError(f"waiting belongs to task: counting, not to {self.task}; delete it")
        if self.burn_in == "auto":
            enough_for_burn_in(int(self.duration / self.sample_every * (1 + 1e-9)), self.duration, self.batch)
        return self

    def _diffusive(self):
        """ValueError where a key does not fit the unravelling."""
        if self.unravelling == "jumps" and (self.phase or self.step is not None):
            key = "phase" if self.phase else "step"
            raise ValueError(f"{key} belongs to unravelling: homodyne and heterodyne, not to jumps; delete it")
        if self.unravelling != "jumps":
            for what, wrong in {
                "distribute = true": self.distribute,
                "task = correlation": self.task == "correlation",
                "waiting": self.waiting is not None,
            }.items():
                if wrong:
                    raise ValueError(f"{what} belongs to unravelling: jumps, not to {self.unravelling}; delete it")

    def _along_trajectories(self):
        """ValueError where a key does not fit a task that follows trajectories one by one."""
        if self.observables:
            raise ValueError(
                f"observables belong to the tasks steady_state and evolve, not to {self.task}; delete them"
            )
        if self.burn_in == "auto":
            raise ValueError(f"burn_in = auto belongs to task: steady_state, not to {self.task}; write a time")
        if self.distribute:
            raise ValueError(f"distribute = true belongs to the tasks steady_state and evolve, not to {self.task}")
        if self.waiting is not None and (len(self.waiting) < 2 or self.waiting[-1] >= self.duration):
            raise ValueError(
                f"waiting: edges of bins are two numbers or more, the last below duration = {self.duration:g}"
            )
