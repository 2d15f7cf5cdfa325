"""Options of the phase-space method."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from hpcsim.ensemble.burn_in import WINDOWS
from hpcsim.ensemble.options import EnsembleOptions, enough_for_burn_in, or_auto
from hpcsim.methods.phase_space.kernels import INTEGRATORS
from hpcsim.methods.phase_space.results import Items
from hpcsim.methods.phase_space.step import common_unit
from hpcsim.system import Count, Number, Times, starts


class Options(EnsembleOptions):
    """Every time is in the model's unit of time, and a whole number of steps dt.

    task         : steady_state (averaged over time after burn_in) or evolve (at given times)
    representation : wigner, P or Q. P and Q need scheme: pda, and a Hamiltonian without products of operators
    scheme       : spin_conserving or pda
    sampling     : of the initial state in the Wigner representation with pda: fock (second moments right) or
                   coherent (as in huber2021, second moments too large by 1/2S). Q is always the first, P the other.
                   discrete: of spins 1/2 with scheme: spin_conserving, the discrete truncated Wigner approximation
                   (DTWA): right for short times, without couplings or with those of Ising models at all times
    drop_interaction_noise : P and Q with products of operators all the same, their second derivatives dropped
    integrator   : sib (semi-implicit), eo (even-odd, bipartite graphs), auto (eo where it can be), or, to see
                   what they get wrong, euler_maruyama and midpoint (explicit, scheme: spin_conserving)
    dt           : step; errors are of second order, so halve it to see them. auto: as long as a pilot allows, which
                   compares a coarse step with half of it (see step.py): the estimated bias, with its standard
                   error, of every output in target_error is below half of that, or without target_error below
                   0.01 S in ⟨Sj⟩ and 0.01 S² in ⟨Sj²⟩. The outputs dt_used and dt_bias tell what came of it. The
                   pilot costs a batch or so; each group of ranks runs it once for each point
    observables  : more to measure: see hpcsim.observables; products of spin operators, up to two of them on one site,
                   and histogram_Sx, histogram_Sy, histogram_Sz. Spins and their variances always are
    initial      : [polar, azimuth] in units of π of the spin coherent state of all sites, or one for each
                   sublattice by name. Along x by default, as far from the poles as can be. Or random: a direction for
                   every site; {fock: m} with m = S or -S; or mixed, the state 1/D: a direction for
                   every site of every trajectory
    sample_every : steady_state: steps between samples
    burn_in      : steady_state: time before averaging, 200 by default; auto: found from the data, between 0
                   and half of duration (see burn_in_used)
    duration     : steady_state: time of averaging, 200 by default; with burn_in: auto, time of everything
    times        : evolve: the times of the results, a list or linspace: [first, last, count]
    """

    task: Literal["steady_state", "evolve"] = "steady_state"
    representation: Literal["wigner", "P", "Q"] = "wigner"
    scheme: Literal["spin_conserving", "pda"] = "spin_conserving"
    sampling: Literal["fock", "coherent", "discrete"] = "fock"
    drop_interaction_noise: bool = False
    integrator: Literal[("auto", *INTEGRATORS)] = "auto"
    dt: Annotated[float | Literal["auto"], or_auto(gt=0)] = 0.05
    initial: starts.accepting("direction", "fock", "random", "mixed") = (0.5, 0.0)
    observables: Items = ()
    sample_every: Count = 10
    burn_in: Annotated[float | Literal["auto"], or_auto(ge=0)] | None = None
    duration: Annotated[Number, Field(gt=0)] | None = None
    times: Times | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_times(cls, values):
        if isinstance(values, dict) and values.get("task", "steady_state") == "steady_state":
            return {"burn_in": 200.0, "duration": 200.0} | values
        return values

    @field_validator("burn_in", "duration", "times")
    @classmethod
    def _whole_steps(cls, value, info: ValidationInfo):
        per_sample = info.field_name == "duration"
        if value is None or "auto" in (value, info.data.get("dt", "auto")) or "sample_every" not in info.data:
            return value
        unit = info.data["dt"] * (info.data["sample_every"] if per_sample else 1)
        steps = np.atleast_1d(value) / unit
        if np.any(wrong := np.abs(steps - np.round(steps)) > 1e-6):
            what = "dt * sample_every" if per_sample else "dt"
            raise ValueError(f"{unit * steps[wrong][0]:g} is not a multiple of {what} = {unit:g}; change one of them")
        return value

    @model_validator(mode="after")
    def _combinations(self):
        if self.representation != "wigner" and self.scheme != "pda":
            raise ValueError(
                f"representation = {self.representation}: there is no {self.scheme} scheme for it; set scheme: pda"
            )
        if self.sampling == "coherent" and self.scheme != "pda":
            raise ValueError("sampling = coherent: belongs to scheme: pda, not to spin_conserving; delete it")
        if self.sampling == "discrete" and self.scheme == "pda":
            raise ValueError("sampling = discrete: belongs to scheme: spin_conserving, not to pda; change one of them")
        if self.integrator in ("euler_maruyama", "midpoint") and self.scheme == "pda":
            raise ValueError(f"integrator = {self.integrator}: needs scheme: spin_conserving; with pda use sib or eo")
        if self.integrator in ("euler_maruyama", "midpoint") and self.dt == "auto":
            raise ValueError(
                f"integrator = {self.integrator}: needs a number for dt; dt: auto knows the order of sib and eo"
            )
        if self.burn_in == "auto" and self.duration is not None:
            samples = WINDOWS if self.dt == "auto" else round(self.duration / (self.dt * self.sample_every))
            enough_for_burn_in(samples, self.duration, self.batch)
        return self

    @model_validator(mode="after")
    def _times_of_the_task(self):
        for task, keys in {"steady_state": ("burn_in", "duration"), "evolve": ("times",)}.items():
            for key in keys:
                if task == self.task and getattr(self, key) is None:
                    raise ValueError(f"{key} is missing; task: {task} requires it")
                if task != self.task and getattr(self, key) is not None:
                    raise ValueError(f"{key} belongs to task: {task}, not to {self.task}; delete it")
        return self

    @property
    def forces(self) -> str:
        """The scheme of the equations without the dissipation that `hybrid` adds."""
        return "pda" if self.sampling == "discrete" else self.scheme

    @property
    def step_unit(self) -> float:
        """The longest step that all times of the task are multiples of."""
        if self.task == "evolve":
            return common_unit(self.times)
        if self.burn_in == "auto":
            return self.duration / (self.sample_every * WINDOWS)
        return common_unit((self.burn_in, self.duration / self.sample_every))
