"""From a resolved config to the records to compute: every point checked, its cost estimated."""

import functools
import hashlib
import importlib
import json
import logging
import math
import pkgutil
from dataclasses import dataclass, replace

import numpy as np

import hpcsim.methods
import hpcsim.models
from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Output
from hpcsim.own import KEYS, Guarded, module, told
from hpcsim.run import samples
from hpcsim.run.config import ConfigError, shape, validate
from hpcsim.run.config import point as config_point
from hpcsim.run.numbering import Numbering
from hpcsim.run.schedule import assign
from hpcsim.run.states import with_state
from hpcsim.store import Layout
from hpcsim.system import Cache, Parameters, System, dissipates, require_unique
from hpcsim.system.vocabulary import in_preferred_names, preferred

log = logging.getLogger("hpcsim")
MOST_RECORDS = 4 * 10**6  # of a run
EVERY = 10_000  # points up to which each is planned


@dataclass(frozen=True)
class Plan:
    """All that is known before anything is computed.

    config  : resolved, with every default written out
    outputs : of the method, with dimensions as long as the longest point needs
    numbering : which records are those of which point
    bytes, time  : (records,) cost of each record; None on ranks that share out nothing
    needs   : {record: the records whose results it starts from}, of those that have any
    sites, dimension : of the largest system and Hilbert space
    given   : the system, where it was given in place of a model
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

    def problem(self, point: int, structures: Cache | None = None) -> "Problem":
        """Of one point of the sweep. Raises ConfigError, too where the point has another number of records."""
        try:
            problem = Problem(*config_point(self.config, point), self.given, structures)
            found, planned = len(problem.records), self.numbering.count(point)
        except (ValueError, ArithmeticError) as error:
            raise ConfigError(str(error)) from None
        if found != planned:
            raise ConfigError(f"this point has {found} records, and {planned} are planned as for other points")
        return problem

    def where(self, point: int) -> dict:
        """The values of the sweep at one point."""
        return swept(self.config, *config_point(self.config, point))

    @property
    def layout(self) -> Layout:
        """The layout of the file that the records go to."""
        return Layout(self.config, tuple(self.config["sweep"]), self.outputs, *self.numbering.arrays())

    def without_costs(self) -> "Plan":
        """For the ranks that share out nothing: no more than the config and a few numbers."""
        return replace(self, bytes=None, time=None)


@functools.cache
def find(package, name: str, what: str):
    """The module `name` of hpcsim.models or hpcsim.methods; an unknown name lists the known ones."""
    known = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    if name not in known:
        raise ConfigError(f"{what}.name = {name!r}: unknown {what}; known: {', '.join(known)}")
    return importlib.import_module(f"{package.__name__}.{name}")


def _module(package, section: dict, what: str):
    """The module of a section: of the package, or the user's own."""
    if not {"source", "package"} & section.keys():
        return find(package, section["name"], what)
    try:
        own = module(section, what)
        return Guarded(own, section["name"]) if what == "method" else own
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _build(builder, params, name: str) -> System:
    """builder.build(params); a mistake in a file of the user's own is one message."""
    try:
        system = builder.build(params)
    except (ValueError, ArithmeticError, MemoryError):
        raise
    except Exception as error:
        if builder.__name__.startswith("hpcsim."):
            raise
        raise ConfigError(told(error, "model", name)) from None
    if not isinstance(system, System):
        raise ConfigError(f"model {name}: its build gives {type(system).__name__}; a System is needed")
    return system


class Given(Parameters):
    """Stands for the parameters of a model where a System was given in its place: `System.key`, in hexadecimals."""

    key: str


class Problem:
    """The system and the method's options of one point. Raises ConfigError if they do not fit.

    system     : given in place of a model
    structures : of the points planned or computed together, which share what follows from their equal structure
    """

    def __init__(self, model: dict, method: dict, system: System | None = None, structures: Cache | None = None):
        model, method = dict(model), dict(method)
        model_name, method_name = model["name"], method["name"]
        builder = None if system else _module(hpcsim.models, model, "model")
        self.method = _module(hpcsim.methods, method, "method")
        model, method = ({k: v for k, v in each.items() if k not in ("name", *KEYS)} for each in (model, method))
        self.params = validate(builder.Params if builder else Given, model, "model")
        self.options = validate(self.method.Options, method, "method")
        self.system = _build(builder, self.params, model_name) if builder else system
        if structures is not None:
            self.system.join(structures)
        if reason := self.method.supports(self.system):
            raise ConfigError(f"method.name = {method_name!r}: does not support model {model_name!r}: {reason}")

    @functools.cached_property
    def records(self) -> tuple:
        return self.method.records(self.system, self.options)

    @functools.cached_property
    def outputs(self) -> tuple[Output, ...]:
        return self.method.outputs(self.system, self.options)

    def key(self, seed: int) -> tuple[int, int]:
        """Two 32-bit words from the seed and the model's parameters: the key of the random streams."""
        text = json.dumps([seed, self.params.identity()], sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


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
    size = math.prod(shape(config))
    if size > EVERY:
        _check_values(config)
        survey, points = _Survey(config, given), samples.chosen(shape(config))
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
        self._sites, self._dimension = 0, 0.0

    def look(self, p: int):
        """Plan one point."""
        model, method = config_point(self._config, p)
        try:
            problem = Problem(model, method, self._given, self._structures)
            self._resolved.add(problem)
            system, options = problem.system, problem.options
            _check_dissipation(system, options)
            _check_device(self._config["run"]["device"], method["name"], problem.method)
            costs = [problem.method.cost(system, options, record) for record in problem.records]
            self.needs |= _needs(problem, problem.records, len(self.time))
            if problem.outputs != self._found:
                self._found = problem.outputs
                _widen(self._outputs, self._found)
            _check_targets(method.get("target_error") or {}, self._found)
            _check_number(len(self.time) + len(costs))
        except (ConfigError, ValueError, ArithmeticError, MemoryError) as error:
            if isinstance(error, (ArithmeticError, MemoryError)):
                error = f"too large or too small numbers to be planned ({type(error).__name__}: {error})"
            where = swept(self._config, model, method)
            raise ConfigError(f"{error} (point {p} of the sweep: {where})" if where else str(error)) from None
        self.counts.append(len(costs))
        self.bytes += [cost.bytes for cost in costs]
        self.time += [cost.time for cost in costs]
        self._sites, self._dimension = max(self._sites, system.sites), max(self._dimension, system.dimension)

    def plan(self, counts, bytes_, time) -> Plan:
        """The Plan of all points, from the number of records of each, and the costs of these."""
        outputs = tuple(self._outputs.values())
        costs = bytes_, time, self.needs, self._sites, self._dimension
        return Plan(self._resolved.config(), outputs, Numbering(counts), *costs, self._given)

    def extended(self, points: np.ndarray) -> Plan:
        """The Plan of all points where those looked at are `points`, which have equal numbers of records."""
        sizes, each = shape(self._config), self.counts[0]
        _check_number(each * math.prod(sizes))
        costs = np.stack([self.bytes, self.time], 1).reshape(len(points), each, 2)
        costs = samples.extended(sizes, points, costs).reshape(-1, 2)
        return self.plan(np.broadcast_to(each, math.prod(sizes)), *np.ascontiguousarray(costs.T))


def _check_number(records: int):
    if records > MOST_RECORDS:
        raise ConfigError(f"more than {MOST_RECORDS} records: split the sweep, or raise method.batch")


def _check_values(config: dict):
    """Raises ConfigError where the value of an axis does not fit, whatever the others are."""
    stride, first = 1, Problem(*config_point(config, 0))
    kinds = {"model": type(first.params), "method": type(first.options)}
    for axis in reversed(config["sweep"]):
        for key, values in axis.items():
            section, name = key.split(".")
            wrong = samples.first_wrong(kinds[section], preferred(name, kinds[section].model_fields), values)
            if wrong is not None:
                Problem(*config_point(config, wrong * stride))
        stride *= len(values)


def _without_swept(config: dict, given: System | None) -> dict:
    """A config whose model lacks what is swept under another name.

    Axes keep the names that the user gave them: those are the coordinates of the results.
    """
    fields = (Given if given else _module(hpcsim.models, config["model"], "model").Params).model_fields
    swept = {key.split(".")[1] for axis in config["sweep"] for key in axis if key.startswith("model.")}
    meant = {preferred(key, fields) for key in swept}
    kept = {key: value for key, value in config["model"].items() if key in swept or preferred(key, fields) not in meant}
    return config | {"model": kept}


def _check_device(device: str, name: str, method):
    if device not in (known := getattr(method, "DEVICES", ("cpu",))):
        raise ConfigError(f"run.device = {device}: method {name} computes on {' and '.join(known)} alone; change one")


class _Resolved:
    """A config with every default written out that is the same at all points of the sweep, under preferred names.

    A default that depends on what is swept is left out: every point finds its own again.
    """

    def __init__(self, config: dict):
        self._config, self._found, self._fields = config, {}, {}
        self._swept = {tuple(key.split(".")) for axis in config["sweep"] for key in axis}

    def add(self, problem: Problem):
        for section, values in ("model", problem.params), ("method", problem.options):
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
            sections[section] = {"name": given["name"], **values} | {k: v for k, v in given.items() if k not in values}
        return json.loads(json.dumps(self._config | sections))


def _needs(problem: Problem, records, first: int) -> dict[int, tuple[int, ...]]:
    """Numbers of the records that each record of a point needs; `first` is the number of its first record."""
    needs, found = getattr(problem.method, "needs", None), {}
    for i, record in enumerate(records if needs else ()):
        if indices := needs(problem.system, problem.options, record):
            if not all(0 <= index < i for index in indices):
                raise RuntimeError(f"{problem.method.__name__}.needs: {indices} do not come before record {i}")
            found[first + i] = tuple(first + index for index in indices)
    return found


def swept(config: dict, model: dict, method: dict) -> dict:
    """The values of the sweep at one point."""
    sections = {"model": model, "method": method}
    return {key: sections[key.split(".")[0]][key.split(".")[1]] for axis in config["sweep"] for key in axis}


def _check_dissipation(system, options):
    if getattr(options, "task", None) == "steady_state" and not dissipates(system):
        require_unique(system, options.task)


def _check_targets(targets: dict, outputs):
    if not targets:
        return
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
        raise ConfigError(f"method.observables: {twice} is the name of a result of this method; take another name")
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
