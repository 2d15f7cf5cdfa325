"""From a resolved config to the records to compute: every point checked, its cost estimated."""

import json
import logging
import math
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

import numpy as np

from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Output
from hpcsim.run import courses, samples, speed
from hpcsim.run.config import ConfigError, places, shape
from hpcsim.run.config import point as config_point
from hpcsim.run.costs import Work
from hpcsim.run.disorder import KEY as DISORDER
from hpcsim.run.disorder import POINT
from hpcsim.run.numbering import Numbering
from hpcsim.run.problem import Problem, fields_of
from hpcsim.run.schedule import assign, kinds_of
from hpcsim.run.share import Share
from hpcsim.run.states import with_state
from hpcsim.store import Layout
from hpcsim.store.layout import REALISATION
from hpcsim.system import Cache, System, dissipates, require_unique
from hpcsim.system.vocabulary import in_preferred_names, preferred

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
    looked: dict[int, Problem] = field(default_factory=dict, repr=False, compare=False)

    @property
    def points(self) -> int:
        """The number of points of the sweep."""
        return math.prod(shape(self.config))

    def problem(self, point: int, structures: Cache | None = None) -> Problem:
        """The problem of one point of the numbering. Raises ConfigError, too where it has another number of records."""
        if problem := self.looked.pop(point, None):
            if structures is not None:
                problem.system.join(structures)
            return problem
        try:
            problem = Problem(*config_point(self.config, point), self.given, structures)
            found, planned = len(problem.records), self.numbering.count(point)
        except (ValueError, ArithmeticError) as error:
            raise ConfigError(str(error)) from None
        if found != planned:
            raise ConfigError(f"this point has {found} records, and {planned} are planned as for other points")
        return problem

    def where(self, point: int) -> dict:
        """The values of the sweep at one point of the numbering."""
        return swept(self.config, *config_point(self.config, point))

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

    def without_costs(self) -> "Plan":
        """For the ranks that share out nothing: no more than the config and a few numbers."""
        return replace(self, bytes=None, time=None, looked={})


def plan(config: dict, given: System | None = None) -> Plan:
    """Check the points of the sweep and lay out their records. Raises ConfigError.

    Of more than EVERY points, only those that `samples` chooses are looked at, and the single values of all axes; what
    does not fit at others is found when they are computed, and they fail. If points differ in the number of their
    records, or a record needs others, all are looked at.

    given : a system in place of a model
    """
    try:
        config = with_state(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    config = _without_swept(config, given)
    size = math.prod(places(config))
    if size > EVERY:
        _check_values(config)
        survey, points = _Survey(config, given), samples.chosen(places(config))
        for p in points:
            survey.look(int(p))
        if len(set(survey.counts)) == 1 and not survey.needs:
            return survey.extended(points)
        log.info("plans each of %d points, for they do not all have the same number of records", size)
    survey = _Survey(config, given)
    for p in range(size):
        survey.look(p)
    return survey.plan(survey.counts, np.array(survey.bytes, float), np.array(survey.time, float))


class _Survey:
    """What planning has found at the points that it has looked at, in their order.

    counts : records of each point;  bytes, time : costs of these, one after the other
    """

    def __init__(self, config: dict, given: System | None):
        self.counts, self.bytes, self.time, self.needs = [], [], [], {}
        self._config, self._given, self._structures = config, given, Cache()
        self._outputs, self._found, self._resolved = {}, (), _Resolved(config)
        self._sites, self._dimension, self._looked = 0, 0.0, {}

    def look(self, p: int):
        """Plan one point."""
        model, method = config_point(self._config, p)
        try:
            problem = Problem(model, method, self._given, self._structures)
            self._resolved.add(problem)
            system, options = problem.system, problem.options
            _check_dissipation(system, options)
            _check_device(self._config["run"]["device"], method["name"], problem)
            costs = [problem.method.cost(system, options, record) for record in problem.records]
            self.needs |= _needs(problem, problem.records, len(self.time))
            if problem.outputs != self._found:
                self._found = problem.outputs
                _widen(self._outputs, self._found)
            _check_targets(method.get("target_error") or {}, self._found, POINT in model)
            _check_number(len(self.time) + len(costs))
        except (ConfigError, ValueError, ArithmeticError, MemoryError) as error:
            if isinstance(error, (ArithmeticError, MemoryError)):
                error = f"too large or too small numbers to be planned ({type(error).__name__}: {error})"
            where = swept(self._config, model, method)
            raise ConfigError(f"{error} (point {p} of the sweep: {where})" if where else str(error)) from None
        if len(self._looked) < LOOKED:
            self._looked[p] = problem
        self.counts.append(len(costs))
        self.bytes += [cost.bytes for cost in costs]
        self.time += [cost.time for cost in costs]
        self._sites, self._dimension = max(self._sites, system.sites), max(self._dimension, system.dimension)

    def plan(self, counts, bytes_, time) -> Plan:
        """The Plan of all points, from the number of records of each, and the costs of these."""
        config, outputs = self._resolved.config(), tuple(self._outputs.values())
        factor = speed.factor(speed.known(), speed.kind_of(config["method"]))
        costs = bytes_, factor * time, self.needs, self._sites, self._dimension
        return Plan(config, outputs, Numbering(counts), *costs, self._given, looked=self._looked)

    def extended(self, points: np.ndarray) -> Plan:
        """The Plan of all points where those looked at are `points`, which have equal numbers of records."""
        sizes, each = places(self._config), self.counts[0]
        _check_number(each * math.prod(sizes))
        costs = np.stack([self.bytes, self.time], 1).reshape(len(points), each, 2)
        costs = samples.extended(sizes, points, costs).reshape(-1, 2)
        return self.plan(np.broadcast_to(each, math.prod(sizes)), *np.ascontiguousarray(costs.T))


def _check_number(records: int):
    if records > MOST_RECORDS:
        raise ConfigError(f"more than {MOST_RECORDS} records: split the sweep, or raise method.batch")


def _check_values(config: dict):
    """Raises ConfigError where the value of an axis does not fit, whatever the others are."""
    stride, first = math.prod(places(config)) // math.prod(shape(config)), Problem(*config_point(config, 0))
    kinds = {"model": type(first.params), "method": type(first.options)}
    for axis in reversed(config["sweep"]):
        for key, values in axis.items():
            section, _, name = key.partition(".")
            if section not in kinds:
                continue
            wrong = samples.first_wrong(kinds[section], preferred(name, kinds[section].model_fields), values)
            if wrong is not None:
                Problem(*config_point(config, wrong * stride))
        stride *= len(values)


def _without_swept(config: dict, given: System | None) -> dict:
    """A config whose model lacks what is swept under another name.

    Axes keep the names that the user gave them: those are the coordinates of the results.
    """
    fields = fields_of(config["model"], given)
    swept = {key.split(".")[1] for axis in config["sweep"] for key in axis if key.startswith("model.")}
    meant = {preferred(key, fields) for key in swept}
    kept = {key: value for key, value in config["model"].items() if key in swept or preferred(key, fields) not in meant}
    return config | {"model": kept}


def _check_device(device: str, name: str, problem: Problem):
    if device not in (known := getattr(problem.method, "DEVICES", ("cpu",))):
        raise ConfigError(f"run.device = {device}: method {name} computes on {' and '.join(known)} alone; change one")
    if device != "cpu" and problem.system.drive:
        raise ConfigError(f"run.device = {device}: parameters that depend on time (schedule) need device: cpu")


class _Resolved:
    """A config with every default written out that is the same at all points of the sweep, under preferred names.

    A default that depends on what is swept is left out: every point finds its own again.
    """

    def __init__(self, config: dict):
        self._config, self._found, self._fields = config, {}, {}
        self._swept = {tuple(key.split(".", 1)) for axis in config["sweep"] for key in axis}

    def add(self, problem: Problem):
        for section, values in ("model", problem.base), ("method", problem.options):
            self._fields[section] = type(values).model_fields
            values = values.model_dump()
            first = self._found.setdefault(section, values)
            for key in [key for key, value in first.items() if value != values[key]]:
                if (section, key) not in self._swept:
                    del first[key]

    def config(self) -> dict:
        """As plain data."""
        sections = {}
        for section, found in self._found.items():
            fields = self._fields[section]
            renamed = {preferred(key, fields) for name, key in self._swept if name == section and key not in fields}
            values = {key: value for key, value in found.items() if key not in renamed}
            given = in_preferred_names(self._config[section], fields)
            more = {key: value for key, value in given.items() if key not in values and key not in renamed}
            sections[section] = {"name": given["name"], **values} | more
        return json.loads(json.dumps(self._config | sections))


def _needs(problem: Problem, records, first: int) -> dict[int, tuple[int, ...]]:
    """Numbers of the records that each record of a point needs; `first` is the number of its first record."""
    needs, found = getattr(problem.method, "needs", None), {}
    for i, record in enumerate(records if needs else ()):
        if indices := needs(problem.system, problem.options, record):
            if not all(0 <= index < len(records) for index in indices):
                raise RuntimeError(f"{problem.method.__name__}.needs: {indices} of record {i} of {len(records)}")
            found[first + i] = tuple(first + index for index in indices)
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        raise RuntimeError(
            f"{problem.method.__name__}.needs: records that wait for each other: {error.args[1]}"
        ) from None
    return found


def swept(config: dict, model: dict, method: dict) -> dict:
    """The values of the sweep at one point."""
    sections = {"model": model, "method": method, DISORDER: model.get(POINT)}
    found = {}
    for section, _, name in (key.partition(".") for axis in config["sweep"] for key in axis):
        of_time = section == courses.KEY
        value = courses.value(model[courses.POINT], name) if of_time else sections[section][name]
        found[f"{section}.{name}"] = value
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
    """What an approximate method leaves out, with its size, at the first and at the last point of the sweep."""
    found = {}
    for p in sorted({0, plan.numbering.points - 1}):
        problem, where = plan.problem(p), plan.where(p)
        for text in getattr(problem.method, "warnings", lambda system, options: ())(problem.system, problem.options):
            found[f"{text} (point {p} of the sweep: {where})" if where else text] = None
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
