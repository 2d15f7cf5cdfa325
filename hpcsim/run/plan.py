"""From a resolved config to the records to compute: every point checked, its cost estimated."""

import functools
import hashlib
import importlib
import itertools
import json
import pkgutil
from dataclasses import dataclass, replace

import numpy as np

import hpcsim.methods
import hpcsim.models
from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Output
from hpcsim.own import KEYS, Guarded, module, told
from hpcsim.run.config import ConfigError, points, validate
from hpcsim.run.schedule import assign
from hpcsim.run.share import Share
from hpcsim.run.states import with_state
from hpcsim.store import Layout
from hpcsim.system import Cache, Parameters, System, dissipates, require_unique
from hpcsim.system.vocabulary import in_preferred_names, preferred

MOST_RECORDS = 4 * 10**6  # of a run


@dataclass(frozen=True)
class Plan:
    """All that is known before anything is computed.

    config  : resolved, with every default written out
    outputs : of the method, with dimensions as long as the longest point needs
    point, index : (records,) point of each record, and its number within the point
    bytes, time  : (records,) cost of each record
    needs   : {record: the records whose results it starts from}, of those that have any
    sites, dimension : of the largest system and Hilbert space
    given   : the system, where it was given in place of a model
    share   : the points that are to be computed, where not all are
    """

    config: dict
    outputs: tuple[Output, ...]
    point: np.ndarray
    index: np.ndarray
    bytes: np.ndarray
    time: np.ndarray
    needs: dict[int, tuple[int, ...]]
    sites: int
    dimension: float
    given: System | None = None
    share: Share | None = None

    @functools.cached_property
    def mine(self) -> np.ndarray:
        """(records,) bool: those to compute. Shares are of whole points, and of about equal estimated cost."""
        if self.share is None:
            return np.ones(len(self.point), bool)
        own = assign(np.bincount(self.point, self.time), self.share.count)[self.share.index - 1]
        return np.isin(self.point, own)

    def problem(self, point: int) -> "Problem":
        """Of one point of the sweep."""
        model, method = next(itertools.islice(points(self.config), int(point), None))
        return Problem(model, method, self.given)

    @property
    def layout(self) -> Layout:
        """The layout of the file that the records go to."""
        return Layout(self.config, tuple(self.config["sweep"]), self.outputs, self.point, self.index)


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
    """Check every point of the sweep and lay out its records. Raises ConfigError.

    given : a system in place of a model
    """
    try:
        config = with_state(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    config = _without_swept(config, given)
    point, index, bytes_, times, needs, outputs = [], [], [], [], {}, {}
    sites, dimension, resolved, structures = 0, 0.0, _Resolved(config), Cache()
    found: tuple[Output, ...] = ()
    for p, (model, method) in enumerate(points(config)):
        try:
            problem = Problem(model, method, given, structures)
            resolved.add(problem)
            system, options = problem.system, problem.options
            _check_dissipation(system, options)
            _check_device(config["run"]["device"], method["name"], problem.method)
            records = problem.records
            costs = [problem.method.cost(system, options, record) for record in records]
            needs |= _needs(problem, records, len(point))
            if problem.outputs != found:
                found = problem.outputs
                _widen(outputs, found)
            _check_targets(method.get("target_error") or {}, found)
            if len(point) + len(records) > MOST_RECORDS:
                raise ValueError(f"more than {MOST_RECORDS} records: split the sweep, or raise method.batch")
        except (ConfigError, ValueError, ArithmeticError, MemoryError) as error:
            if isinstance(error, (ArithmeticError, MemoryError)):
                error = f"too large or too small numbers to be planned ({type(error).__name__}: {error})"
            where = swept(config, model, method)
            raise ConfigError(f"{error} (point {p} of the sweep: {where})" if where else str(error)) from None
        point += [p] * len(records)
        index += range(len(records))
        bytes_ += [cost.bytes for cost in costs]
        times += [cost.time for cost in costs]
        sites, dimension = max(sites, system.sites), max(dimension, system.dimension)
    return Plan(
        resolved.config(),
        tuple(outputs.values()),
        np.array(point),
        np.array(index),
        np.array(bytes_, float),
        np.array(times, float),
        needs,
        sites,
        dimension,
        given,
    )


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
    every, found = list(points(plan.config)), {}
    for p in sorted({0, len(every) - 1}):
        problem = Problem(*every[p])
        where = swept(plan.config, *every[p])
        for text in getattr(problem.method, "warnings", lambda system, options: ())(problem.system, problem.options):
            found[f"{text} (point {p} of the sweep: {where})" if where else text] = None
    return tuple(found)


def seconds(plan: Plan, ranks: int) -> float:
    """Rough wall time on `ranks` ranks: the load of the busiest group."""
    per_group = plan.config["run"]["ranks_per_point"]
    return max(plan.time[mine].sum() for mine in assign(plan.time, max(1, ranks // per_group))) / per_group


def suggested_ranks(plan: Plan) -> int:
    """Ranks beyond which the largest record alone sets the wall time."""
    return plan.config["run"]["ranks_per_point"] * max(1, int(plan.time.sum() / plan.time.max()))
