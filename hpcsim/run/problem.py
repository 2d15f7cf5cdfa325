"""The system and the method's options of one point of a config."""

import functools
import hashlib
import importlib
import json
import pkgutil

import numpy as np

import hpcsim.methods
import hpcsim.models
from hpcsim.methods import Output
from hpcsim.own import KEYS, Guarded, module, told
from hpcsim.run import courses, others, states
from hpcsim.run.config import ConfigError, validate
from hpcsim.run.disorder import POINT, drawn
from hpcsim.system import Cache, Parameters, System, starts
from hpcsim.system.vocabulary import in_preferred_names

_IN_ORDER = json.JSONEncoder(sort_keys=True)


@functools.cache
def find(package, name: str, what: str):
    """The module `name` of hpcsim.models or hpcsim.methods; an unknown name lists the known ones."""
    known = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    if name not in known:
        raise ConfigError(
            f"{what}.name = {name!r}: unknown {what}; known: {', '.join(known)}; for your own give {what}.file: NAME.py"
        )
    return importlib.import_module(f"{package.__name__}.{name}")


def module_of(package, section: dict, what: str):
    """The module of a section: of the package, or the user's own."""
    if not {"source", "package"} & section.keys():
        return find(package, section["name"], what)
    try:
        own = module(section, what)
        return Guarded(own, section["name"]) if what == "method" else own
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _others(system: System) -> str:
    """What to say of the methods that do support a system."""
    names = sorted(each.name for each in pkgutil.iter_modules(hpcsim.methods.__path__))
    able = [name for name in names if find(hpcsim.methods, name, "method").supports(system) is None]
    return f" (supported by: {', '.join(able)})" if able else ""


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


def _fields(builder, section: str) -> dict:
    """The parameters that a section of the config may change. Raises ConfigError where a System stands for a model."""
    if builder is None:
        raise ConfigError(f"{section}: needs a model with parameters; a System has none")
    return builder.Params.model_fields


def _explained(function, *arguments):
    """function(*arguments), its ValueError as a ConfigError."""
    try:
        return function(*arguments)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _is_driven(method: str) -> bool:
    return bool(getattr(find(hpcsim.methods, method, "method"), "DRIVEN", ()))


def sections_of(config: dict, given: System | None) -> dict[str, type[Parameters]]:
    """{"model", "method": what its section is made into}; Given stands for a System. Raises ConfigError."""
    return {
        "model": Given if given else module_of(hpcsim.models, config["model"], "model").Params,
        "method": module_of(hpcsim.methods, config["method"], "method").Options,
    }


class Given(Parameters):
    """Stands for the parameters of a model where a System was given in its place: `System.key`, in hexadecimals."""

    key: str


class Problem:
    """The system and the method's options of one point.

    Raises ConfigError where what is written is wrong, another ValueError where the model or the method refuses values
    that are right by themselves.

    system     : given in place of a model
    structures : of the points planned or computed together, which share what follows from their equal structure
    """

    def __init__(self, model: dict, method: dict, system: System | None = None, structures: Cache | None = None):
        model, method = dict(model), dict(method)
        disorder, self._schedule = model.pop(POINT, None), model.pop(courses.POINT, None)
        self._of_time: dict = {}  # what keys the random streams besides the parameters
        model_name, method_name, written = model["name"], method["name"], repr(method)
        builder = None if system else module_of(hpcsim.models, model, "model")
        self.method = module_of(hpcsim.methods, method, "method")
        model, method = ({k: v for k, v in each.items() if k not in ("name", *KEYS)} for each in (model, method))
        if self._schedule:
            model = _explained(courses.with_first, model, self._schedule, _fields(builder, courses.KEY))
        where = "schedule, at t = 0: model" if self._schedule else "model"
        self.params = self.base = validate(builder.Params if builder else Given, model, where)
        if disorder:
            model = self._realised(builder, model, disorder)
            self.params = validate(builder.Params, model, "disorder")
        shared = Cache(1) if structures is None else structures
        self.options = shared.get(("options", written), lambda: validate(self.method.Options, method, "method"))
        self.system = _build(builder, self.params, model_name) if builder else system
        if self._schedule:
            self.system = self._in_time(builder, model, method_name)
            self._of_time = {courses.KEY: self._schedule} if self.system.drive else {}
        self._start = self._other_start(builder, model)
        if structures is not None:
            self.system.join(structures)
        if reason := self.method.supports(self.system):
            raise ValueError(
                f"method.name = {method_name!r}: does not support model {model_name!r}: {reason}{_others(self.system)}"
            )

    def _realised(self, builder, model: dict, disorder: dict) -> dict:
        """The parameters of one realisation of the disorder about those that the point has."""
        fields = _fields(builder, "disorder")
        sites = _build(builder, self.base, builder.__name__).sites
        values = _explained(drawn, disorder, self.base, sites, self.key(disorder["seed"]))
        if twice := next((name for name in courses.courses(self._schedule or {}, fields) if name in values), None):
            raise ConfigError(
                f"disorder.{twice}: is drawn for each site, and schedule says what it is in time; keep one"
            )
        return in_preferred_names(model, fields) | values

    def _in_time(self, builder, model: dict, method_name: str) -> System:
        """The system whose parameters depend on time, up to the last of the times that the options ask for."""
        task = getattr(self.options, "task", None)
        if task not in getattr(self.method, "DRIVEN", ()):
            able = [each.name for each in pkgutil.iter_modules(hpcsim.methods.__path__) if _is_driven(each.name)]
            raise ConfigError(
                f"schedule: method {method_name} does not take parameters that depend on time for task: {task}; with "
                f"task: evolve can {', '.join(able)}"
            )

        def build(values: dict) -> System:
            return _build(builder, validate(builder.Params, model | values, "model"), builder.__name__)

        last = getattr(self.options, "times")[-1]  # noqa: B009  of every task that is driven
        if period := getattr(self.options, "period", None):
            _explained(courses.require_period, self._schedule, builder.Params.model_fields, period)
        return _explained(courses.in_time, self._schedule, builder.Params.model_fields, build, last)

    def _other_start(self, builder, model: dict) -> others.Found | None:
        """What finds the state, of the model with other parameters, that the option `initial` asks for."""
        initial = getattr(self.options, "initial", None)
        kind = starts.kind(initial)
        if kind not in others.KINDS:
            return None
        where, fields = f"method.initial.{kind}", _fields(builder, "method.initial")
        if len(initial) > 1:
            raise ConfigError(f"method.initial = {initial}: {kind} stands alone; other keys are below it")
        values = _explained(states.model_values, initial[kind], fields, where)
        params = validate(builder.Params, in_preferred_names(model, fields) | values, f"{where}: model")
        system = _build(builder, params, builder.__name__)
        if not np.array_equal(system.levels, self.system.levels):
            raise ConfigError(f"{where}: changes the sites of the system")
        if kind == "steady_state" and (own := getattr(self.method, "steady_start", None)):
            return _explained(own, system, self.options, where)
        exact = find(hpcsim.methods, "liouvillian", "method")
        return _explained(others.finder, kind, initial[kind], system, exact, self.options, where)

    def saved_state(self, item: dict) -> np.ndarray:
        """ρ (D, D) or ψ (D,) of what the option `initial` names. Raises ValueError."""
        return states.read(item) if self._start is None else self._start()

    @functools.cached_property
    def records(self) -> tuple:
        return self.method.records(self.system, self.options)

    @functools.cached_property
    def outputs(self) -> tuple[Output, ...]:
        return self.method.outputs(self.system, self.options)

    def key(self, seed: int) -> tuple[int, int]:
        """Two 32-bit words from the seed and the model's parameters: the key of the random streams."""
        text = _IN_ORDER.encode([seed, self.params.identity() | self._of_time])
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
