"""From a resolved config to the records to compute: every point checked, its cost estimated."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

import numpy as np

from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Output
from hpcsim.run import samples, speed
from hpcsim.run.config import ConfigError, places, shape
from hpcsim.run.config import point as config_point
from hpcsim.run.costs import Work
from hpcsim.run.numbering import Numbering
from hpcsim.run.problem import Problem, sections_of
from hpcsim.run.resolved import Resolved, swept, without_swept
from hpcsim.run.schedule import assign, kinds_of
from hpcsim.run.share import Share
from hpcsim.run.states import with_state
from hpcsim.store import Layout, in_words
from hpcsim.store.layout import REALISATION
from hpcsim.system import Cache, System, dissipates, require_unique
from hpcsim.system.vocabulary import preferred

log = logging.getLogger("hpcsim")
MOST_RECORDS = 4 * 10**6  # of a run
EVERY = 10_000  # points up to which each is planned
LOOKED = 2_000  # problems of them that are kept until they are computed


@dataclass(frozen=True)
class Plan:
    """All that is known before anything is computed.

    config  : resolved, with every default written out
    outputs : of the method, with dimensions as long as the longest point needs
    numbering : which records are those of which point; with disorder, of which realisation of which point
    bytes, time  : (records,) cost of each record; None on ranks that share out nothing
    needs   : {record: the records whose results it starts from}, of those that have any
    sites, dimension : of the largest system and Hilbert space
    given   : the system, where it was given in place of a model
    share   : which share of the points is to be computed, where not all are, and
    own     : (points,) bool, those
    refused : {point: why no method could treat it}, of those looked at; its records fail
    looked  : {point: its Problem}, of the first ones; `problem` takes them out
    """

    config: dict
    outputs: tuple[Output, ...]
    numbering: Numbering
    bytes: np.ndarray | None
    time: np.ndarray | None
    needs: dict[int, tuple[int, ...]]
    sites: int
    dimension: float
    given: System | None = None
    share: Share | None = None
    own: np.ndarray | None = None
    refused: dict[int, str] = field(default_factory=dict)
    looked: dict[int, Problem] = field(default_factory=dict, repr=False, compare=False)

    @property
    def points(self) -> int:
        """The number of points of the sweep."""
        return math.prod(shape(self.config))

    def problem(self, point: int, structures: Cache | None = None) -> Problem:
        """The problem of one point of the numbering. Raises ConfigError, too where it has another number of records."""
        if point in self.refused:
            raise ConfigError(self.refused[point])
        if problem := self.looked.pop(point, None):
            if structures is not None:
                problem.system.join(structures)
            return problem
        try:
            problem = Problem(*config_point(self.config, point), self.given, structures)
            _check_dissipation(problem.system, problem.options)
            found, planned = len(problem.records), self.numbering.count(point)
        except (ValueError, ArithmeticError) as error:
            raise ConfigError(str(error)) from None
        if found != planned:
            raise ConfigError(f"this point has {found} records, and {planned} are planned as for other points")
        return problem

    def where(self, point: int) -> dict:
        """The values of the sweep at one point of the numbering."""
        return swept(self.config, *config_point(self.config, point))

    def first(self, last=False) -> int:
        """The first, or the last, point of the numbering that is not known to be refused."""
        points = range(self.numbering.points)
        return next(p for p in (reversed(points) if last else points) if p not in self.refused)

    @property
    def layout(self) -> Layout:
        """The layout of the file that the records go to."""
        place, index = self.numbering.arrays()
        point, realisation = np.divmod(place, self.numbering.points // self.points)
        return Layout(self.config, tuple(self.config["sweep"]), self.outputs, point, index + realisation * REALISATION)

    def shared(self, share: Share | None) -> "Plan":
        """For one share of the points; all shares have about the same estimated cost."""
        if share is None:
            return self
        seconds = np.bincount(self.numbering.arrays()[0], self.time, self.numbering.points)
        mine = assign(seconds, share.count)[share.index - 1]
        return replace(self, share=share, own=np.isin(np.arange(self.numbering.points), mine))

    def among(self, records: np.ndarray) -> np.ndarray:
        """Those of some records that are to be computed."""
        return records if self.own is None else records[self.own[self.numbering.arrays()[0][records]]]

    def work(self, records: np.ndarray) -> Work:
        """Some records, with their costs."""
        points, parts = self.numbering.arrays()
        kinds = kinds_of(self.bytes[records], self.time[records])
        return Work.of(records, self.time[records], kinds, points[records], parts[records])

    def whole(self) -> "Plan":
        """Itself. Raises ConfigError where a point is refused."""
        for p, reason in self.refused.items():
            raise ConfigError(f"{reason}{_at(self.config, p)}")
        return self

    def refusals(self) -> Iterator[str]:
        """Yield for each reason how many points fail by it, and the first of them."""
        by_reason: dict[str, list[int]] = {}
        for p, reason in self.refused.items():
            by_reason.setdefault(reason, []).append(p)
        size = self.numbering.points
        for reason, points in by_reason.items():
            at = in_words(self.where(points[0]))
            first = f"{'the first' * (len(points) > 1) or 'it'} is point {points[0]} of the sweep, {at}"
            yield f"{'at least ' * (size > EVERY)}{len(points)} of {size} points will fail, {first}: {reason}"

    def without_costs(self) -> "Plan":
        """For the ranks that share out nothing: no more than the config and a few numbers."""
        return replace(self, bytes=None, time=None, looked={})


def plan(config: dict, given: System | None = None) -> Plan:
    """Check the points of the sweep and lay out their records. Raises ConfigError.

    A point whose values fit and that the model or the method refuses all the same fails alone, if there are others.
    Of more than EVERY points, only those that `samples` chooses are looked at, and the single values of all axes; what
    does not fit at others is found when they are computed, and they fail. If points differ in the number of their
    records, or a record needs others, all are looked at.

    given : a system in place of a model
    """
    try:
        config = with_state(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    config = without_swept(config, given)
    size = math.prod(places(config))
    if size > EVERY:
        survey, points = _Survey(config, given), samples.chosen(places(config))
        if (wrong := _wrong(config, given)) is not None:
            survey.look(wrong)
            survey = _Survey(config, given)
        for p in points:
            survey.look(int(p))
        if (costs := survey.alike()) is not None:
            return survey.plan(np.broadcast_to(costs.shape[1], size), samples.extended(places(config), points, costs))
        log.info("plans each of %d points, for they do not all have the same number of records", size)
    survey = _Survey(config, given)
    for p in range(size):
        survey.look(p)
    costs = list(survey.costs.values())
    return survey.plan([len(each) for each in costs], np.concatenate(costs))


class _Survey:
    """What planning has found at the points that it has looked at, in their order.

    costs   : {point: (records, 2) bytes and time of these}; of a point that is refused one record, which is free
    refused : {point: why}
    needs   : as in Plan
    """

    def __init__(self, config: dict, given: System | None):
        self.costs: dict[int, np.ndarray] = {}
        self.refused: dict[int, str] = {}
        self.needs: dict[int, tuple[int, ...]] = {}
        self._config, self._given, self._structures = config, given, Cache()
        self._outputs, self._found, self._resolved = {}, (), Resolved(config)
        self._sites, self._dimension, self._looked, self._records = 0, 0.0, {}, 0

    def look(self, p: int):
        """Plan one point."""
        model, method = config_point(self._config, p)
        try:
            problem = Problem(model, method, self._given, self._structures)
            _check_dissipation(problem.system, problem.options)
            costs = [problem.method.cost(problem.system, problem.options, record) for record in problem.records]
            self._take(p, problem, np.array([(cost.bytes, cost.time) for cost in costs], float))
        except ConfigError as error:
            raise ConfigError(f"{error}{_at(self._config, p)}") from None
        except (ValueError, ArithmeticError, MemoryError) as error:
            if isinstance(error, (ArithmeticError, MemoryError)):
                error = f"too large or too small numbers to be planned ({type(error).__name__}: {error})"
            self.refused[p] = str(error)
            self._add(p, np.zeros((1, 2)))

    def _take(self, p: int, problem: Problem, costs: np.ndarray):
        """Keep what a point needs and gives. Raises ConfigError where that does not fit to other points."""
        self._resolved.add(problem)
        name, targets = self._config["method"]["name"], getattr(problem.options, "target_error", None)
        _check_device(self._config["run"]["device"], name, problem)
        needs, outputs = _needs(problem, problem.records, self._records), problem.outputs
        if outputs != self._found:
            _widen(self._outputs, outputs)
            self._found = outputs
        _check_targets(targets or {}, outputs, problem.params is not problem.base)
        self._add(p, costs)
        self.needs |= needs
        if len(self._looked) < LOOKED:
            self._looked[p] = problem
        system = problem.system
        self._sites, self._dimension = max(self._sites, system.sites), max(self._dimension, system.dimension)

    def _add(self, p: int, costs: np.ndarray):
        self.costs[p] = costs
        self._records += len(costs)
        _check_number(self._records)

    def alike(self) -> np.ndarray | None:
        """(points, records, 2) costs where all points have equally many records and none needs others; else None.

        A point that is refused has the costs of the one before it that is not, or of the first that is not.
        """
        taken = [costs for p, costs in self.costs.items() if p not in self.refused]
        if self.needs or len({len(costs) for costs in taken}) != 1:
            return None
        found, last = [], taken[0]
        for p, costs in self.costs.items():
            last = last if p in self.refused else costs
            found.append(last)
        return np.array(found)

    def plan(self, counts, costs: np.ndarray) -> Plan:
        """The Plan of all points, from the number of records of each, and the costs (records, 2) of these.

        Raises ConfigError where all points that were looked at are refused.
        """
        if len(self.refused) == len(self.costs):
            p, reason = next(iter(self.refused.items()))
            raise ConfigError(f"{reason}{_at(self._config, p)}")
        _check_number(int(np.sum(counts)))
        config, outputs = self._resolved.config(), tuple(self._outputs.values())
        factor = speed.factor(speed.known(), speed.kind_of(config["method"]))
        bytes_, time = np.ascontiguousarray(costs.reshape(-1, 2).T)
        found = Numbering(counts), bytes_, factor * time, self.needs, self._sites, self._dimension
        return Plan(config, outputs, *found, self._given, refused=self.refused, looked=self._looked)


def _at(config: dict, p: int) -> str:
    """Where a point is, to end a message with."""
    where = swept(config, *config_point(config, p))
    return f" (point {p} of the sweep: {where})" if where else ""


def _check_number(records: int):
    if records > MOST_RECORDS:
        raise ConfigError(f"more than {MOST_RECORDS} records: split the sweep, or raise method.batch")


def _wrong(config: dict, given: System | None) -> int | None:
    """A point at which the value of an axis does not fit, whatever the others are; None where all fit."""
    stride = math.prod(places(config)) // math.prod(shape(config))
    kinds = sections_of(config, given)
    for axis in reversed(config["sweep"]):
        for key, values in axis.items():
            section, _, name = key.partition(".")
            if section not in kinds:
                continue
            wrong = samples.first_wrong(kinds[section], preferred(name, kinds[section].model_fields), values)
            if wrong is not None:
                return wrong * stride
        stride *= len(values)
    return None


def _check_device(device: str, name: str, problem: Problem):
    if device not in (known := getattr(problem.method, "DEVICES", ("cpu",))):
        raise ConfigError(f"run.device = {device}: method {name} computes on {' and '.join(known)} alone; change one")
    if device != "cpu" and problem.system.drive:
        raise ConfigError(f"run.device = {device}: parameters that depend on time (schedule) need device: cpu")


def _needs(problem: Problem, records, first: int) -> dict[int, tuple[int, ...]]:
    """Numbers of the records that each record of a point needs; `first` is the number of its first record."""
    needs, found = getattr(problem.method, "needs", None), {}
    for i, record in enumerate(records if needs else ()):
        if indices := needs(problem.system, problem.options, record):
            if not all(0 <= index < len(records) for index in indices):
                raise RuntimeError(f"{problem.method.__name__}.needs: {indices} of record {i} of {len(records)}")
            found[first + i] = tuple(first + index for index in indices)
    try:
        TopologicalSorter(found).prepare() if found else None
    except CycleError as error:
        raise RuntimeError(
            f"{problem.method.__name__}.needs: records that wait for each other: {error.args[1]}"
        ) from None
    return found


def _check_dissipation(system, options):
    if getattr(options, "task", None) == "steady_state" and not dissipates(system):
        require_unique(system, options.task)


def _check_targets(targets: dict, outputs, disordered: bool):
    if not targets:
        return
    if disordered:
        raise ConfigError(
            "method.target_error: is not for disorder; delete it, and choose trajectories and realisations"
        )
    allowed = [output.name for output in outputs if output.reduce in AVERAGED and not output.internal]
    for name, value in targets.items():
        if name not in allowed:
            raise ConfigError(
                f"method.target_error.{name} = {value}: no output with a standard error; those of this "
                f"method are: {', '.join(allowed)}"
            )


def _widen(known: dict, outputs):
    """Keep for every output the longest dimensions any point needs. ConfigError where two have one name."""
    names = [output.name for output in outputs] + sorted({dim.name for output in outputs for dim in output.dims})
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"method: {twice} is the name of a result of this method; give the observable or function another name"
        )
    for output in outputs:
        old = known.setdefault(output.name, output)
        dims = []
        for a, b in zip(old.dims, output.dims):
            longer, shorter = (a, b) if len(a.values) >= len(b.values) else (b, a)
            if longer.values[: len(shorter.values)] != shorter.values:
                raise ConfigError(
                    f"sweep: the dimension {a.name!r} of {output.name} takes other values at different "
                    f"points; compute them in separate runs"
                )
            dims.append(longer)
        known[output.name] = replace(old, dims=tuple(dims))


def warnings(plan: Plan) -> tuple[str, ...]:
    """What an approximate method leaves out, with its size, at the first and at the last point of the sweep that is
    not refused; before it, what is refused and why."""
    found = dict.fromkeys(plan.refusals())
    for p in sorted({plan.first(), plan.first(last=True)}):
        problem = plan.problem(p)
        for text in getattr(problem.method, "warnings", lambda system, options: ())(problem.system, problem.options):
            found[f"{text}{_at(plan.config, p)}"] = None
    return tuple(found)


def seconds(plan: Plan, ranks: int) -> float:
    """Rough wall time on `ranks` ranks: the load of the busiest group."""
    per_group = plan.config["run"]["ranks_per_point"]
    groups = max(1, ranks // per_group)
    if len(plan.time) > EVERY:  # so many are shared out evenly
        return max(plan.time.sum() / groups, plan.time.max()) / per_group
    return max(plan.time[mine].sum() for mine in assign(plan.time, groups)) / per_group


def suggested_ranks(plan: Plan) -> int:
    """Ranks beyond which the largest record alone sets the wall time."""
    return plan.config["run"]["ranks_per_point"] * max(1, int(plan.time.sum() / plan.time.max()))
