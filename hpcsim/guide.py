"""What there is, told from the docstrings and the types of parameters: list, describe, new.

Files of HPCSIM_PATH and of installed packages are listed without being executed; `describe` executes what it describes.

Nothing is written here a second time: a line `name : text` of the docstring of a Params or Options is the description
of that key, its type is its limit, and what a method delivers is asked of the method.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema

import hpcsim.methods
import hpcsim.models
from hpcsim import examples, features, observables, own
from hpcsim.analysis import ESTIMATES, THEORY
from hpcsim.run.config import ConfigError, Run
from hpcsim.system import meant
from hpcsim.system.vocabulary import others

PACKAGES = {"models": hpcsim.models, "methods": hpcsim.methods}
# for a key that has no default, by the name of its type's bounds: enough to build a small example
SMALL: dict[str, Any] = {"S": 1, "sites": 4, "cells": 2, "gain": 1.0, "loss": 0.5, "cutoff": 8}
# of a JSON Schema; pydantic writes the short ones behind a validator
BOUNDS = {"exclusiveMinimum": ">", "gt": ">", "minimum": "≥", "ge": "≥"}
BOUNDS |= {"exclusiveMaximum": "<", "lt": "<", "maximum": "≤", "le": "≤"}
LARGE = 1e6  # bounds from here on keep machines alive, and tell a reader nothing
METHOD_KEY = {"trajectories": {"duration": 50, "burn_in": 10}, "phase_space": {"duration": 50, "burn_in": 10}}


def modules(kind: str) -> dict:
    """{name: module} of all models or methods."""
    package = PACKAGES[kind]
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}


def catalogue() -> dict[str, dict[str, str]]:
    """{kind: {name: one line}} of everything a config can name."""
    return {
        **{kind: {name: _first(module) for name, module in modules(kind).items()} for kind in PACKAGES},
        "observables": {name: _first(make) for name, make in observables.OBSERVABLES.items()},
        "theories": {name: _first(function) for name, function in THEORY.items()},
        "analyses": {name: _first(function) for name, function in ESTIMATES.items()},
    }


def words() -> dict[str, list[str]]:
    """{what: names}: what a shell may complete an argument of the command line with."""
    known, keys = catalogue(), [f"run.{key}=" for key in Run.model_fields]
    for kind, options in ("models", "Params"), ("methods", "Options"):
        fields = {key for module in modules(kind).values() for key in getattr(module, options).model_fields}
        keys += [f"{kind[:-1]}.{key}=" for key in sorted(fields)]
    return {
        **{kind: list(names) for kind, names in known.items()},
        "kinds": [*known, "examples"],
        "names": [name for names in known.values() for name in names],
        "examples": list(examples.found()),
        "keys": keys,
    }


def listed(kind: str | None) -> str:
    """The catalogue, or one kind of it, for people. Raises ConfigError."""
    known, outside = catalogue(), own.named()
    for what, names in zip(known, (outside["model"], outside["method"], outside["observable"], outside["theory"])):
        known[what] = {**names, **known[what]}
    known["examples"] = examples.titles()
    if kind == "features":
        return features.markdown(features.table(modules("methods")))
    if kind is not None and kind not in known:
        raise ConfigError(f"list {kind}: there are {', '.join(known)}, and features{meant(kind, known)}")
    lines = []
    for each in [kind] if kind else known:
        width = max(map(len, known[each]))
        lines += [f"{each}:", *(f"  {name:{width}}  {text}" for name, text in known[each].items()), ""]
    return "\n".join(lines).rstrip()


def described(name: str) -> str:
    """All there is to know of a model, a method, an observable, a theory or an analysis, or of a file of one's own.

    Raises ConfigError.
    """
    try:
        if outside := _outside(name):
            return outside
    except ValueError as error:
        raise ConfigError(f"describe {name}: {error}") from None
    for kind, package in PACKAGES.items():
        if name in (found := modules(kind)):
            return _model(name, found[name]) if package is hpcsim.models else _method(name, found[name])
    for what, table in ("observable", observables.OBSERVABLES), ("theory", THEORY), ("analysis", ESTIMATES):
        if name in table:
            return f"{what} {name}{_arguments(table[name]) if what != 'observable' else ''}\n\n{_text(table[name])}"
    known = [each for kind in catalogue().values() for each in kind]
    raise ConfigError(
        f"describe {name}: unknown; hpcsim list shows the {len(known)} names there are, and a file of one's own is "
        f"NAME.py{meant(name, known)}"
    )


def _outside(name: str) -> str | None:
    """The text on a file NAME.py or a name of others than hpcsim; None where nobody has it. Raises ValueError."""
    if not name.endswith(".py") and any(name in names for names in catalogue().values()):
        return None
    what, section = _section(name)
    if what is None:
        return None
    module = own.module(section, what)
    try:
        return OUTSIDE[what](section["name"], module)
    except Exception as error:
        raise ValueError(own.told(error, what, section["name"])) from None


def _section(name: str) -> tuple[str | None, dict]:
    """What a name outside hpcsim is, and what a config would say of it. Raises ValueError."""
    files = [Path(name)] if name.endswith(".py") else [p for p in own.elsewhere(name, "model") if isinstance(p, Path)]
    if not files:
        kinds = [what for what in ("model", "method", "observable") if own.elsewhere(name, what)]
        return (kinds[0] if kinds else None), {"name": name}
    section = {"name": files[0].stem, "file": str(files[0]), **own.read(files[0], "file", {})}
    try:
        return own.kind_of(section["source"]), section
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: SyntaxError: {error.msg}") from None


def _observable(name: str, module) -> str:
    keys = [_keys(module.Params), "", _defaults(module.Params)] if hasattr(module, "Params") else []
    return "\n".join([f"observable {name}: {_text(module)}", "", *keys]).rstrip()


def _theories(name: str, module) -> str:
    functions = {key: each for key, each in vars(module).items() if inspect.isfunction(each) and key[0] != "_"}
    lines = [f"  {name}.py:{key}{_arguments(each)}  {_first(each)}".rstrip() for key, each in functions.items()]
    return "\n".join([f"theories of {name}: {_text(module)}", "", *lines])


def _model(name: str, module) -> str:
    system, support = None, []
    try:
        system = module.build(module.Params(**_example(module.Params)))
        symmetries = ", ".join(dict.fromkeys(type(each).__name__ for each in system.symmetries)) or "none"
        reasons = {method: other.supports(system) for method, other in modules("methods").items()}
        support = [
            "",
            f"Of the example {yaml.safe_dump(_example(module.Params), default_flow_style=True).strip()}:",
            f"  {'sites':14} {system.sites}, sublattices {', '.join(system.sublattices)}",
            f"  {'unit of rates':14} {system.units if system.units != '1' else 'that of the numbers given, ħ = 1'}",
            f"  {'symmetries':14} {symmetries}",
            *(f"  {method:14} {reason or 'supported'}" for method, reason in reasons.items()),
            *(
                f"  {'outputs':14} {', '.join(_names(modules('methods')[method], system))}; hpcsim describe {method}"
                for method in [each for each, reason in reasons.items() if reason is None and each == "liouvillian"]
            ),
        ]
    except ValidationError:
        pass
    return "\n".join(
        [f"model {name}: {_text(module)}", "", _keys(module.Params), "", _defaults(module.Params), *support]
    )


def _method(name: str, module) -> str:
    return "\n".join(
        [
            f"method {name}: {_text(module)}",
            "",
            _keys(module.Options),
            "",
            _defaults(module.Options),
            "",
            *(
                f"A schedule makes parameters depend on time, for task: {task}."
                for task in getattr(module, "DRIVEN", ())
            ),
            _outputs(module),
        ]
    )


def _outputs(module) -> str:
    """What the method's default task delivers for the first model that it supports."""
    for name, model in modules("models").items():
        system = model.build(model.Params(**_example(model.Params)))
        if module.supports(system) is None:
            lines = [f"Outputs of its default task for {name}:"]
            for each in module.outputs(system, module.Options()):
                if not each.internal:
                    dims = f" [{', '.join(dim.name for dim in each.dims)}]" if each.dims else ""
                    lines.append(f"  {each.name}{dims}, {each.units}: {each.long_name or each.name}")
            return "\n".join(lines)
    return ""


def _names(method, system) -> list[str]:
    """What the default task of a method delivers."""
    return [each.name for each in method.outputs(system, method.Options()) if not each.internal]


def _example(kind: type[BaseModel]) -> dict:
    """Values of the keys without a default, for a small system that has a steady state."""
    found = {}
    for key, field in kind.model_fields.items():
        if field.is_required():
            choices = getattr(field.annotation, "__args__", ())
            found[key] = SMALL.get(key, choices[0] if choices and isinstance(choices[0], str) else 1.0)
        elif key == "decay" and field.default == 0:  # without it the steady state is not unique
            found[key] = 1.0
    return found


def _defaults(kind: type[BaseModel]) -> str:
    width = max(map(len, kind.model_fields))
    types = kind.model_json_schema(schema_generator=Lenient)["properties"]
    lines = ["Keys, defaults and limits:"]
    for key, field in kind.model_fields.items():
        value = (
            "required" if field.is_required() else yaml.safe_dump(_plain(field.get_default()), default_flow_style=True)
        )
        also = ", ".join(others(key, kind.model_fields))
        text = f"{value.strip().removesuffix('...').strip()}{f' (also: {also})' * bool(also)}"
        limits = _limits(types[key])
        lines.append(f"  {key:{width}}  {text:12}  {limits}".rstrip())
    return "\n".join(lines)


class Lenient(GenerateJsonSchema):
    """What a validator of ours accepts before pydantic sees it is not in the types: no claim is made of it."""

    def handle_invalid_for_json_schema(self, schema, error_info):
        return {}


def _limits(field: dict) -> str:
    """What the JSON Schema of a key says of its values, in words."""
    found = [" or ".join(map(str, field.get("enum", [])))]
    found += ["true or false"] if field.get("type") == "boolean" else []
    found += ["whole"] if field.get("type") == "integer" else []
    found += [f"a multiple of {field['multipleOf']:g}"] if "multipleOf" in field else []
    found += [f"{sign} {field[key]:g}" for key, sign in BOUNDS.items() if abs(field.get(key, LARGE)) < LARGE]
    found += [_limits(each) for each in field.get("anyOf", [])]
    return ", ".join(filter(None, found))


def _plain(value):
    if isinstance(value, BaseModel):
        return value.model_dump()
    return list(value) if isinstance(value, tuple) else value


def _keys(kind: type[BaseModel]) -> str:
    """The docstring of a class of parameters, and the key lines of those that it extends."""
    own, texts = descriptions(kind, inherited=False), [_text(kind)]
    inherited = {key: text for key, text in descriptions(kind).items() if key not in own}
    if inherited:
        texts.append("\n".join(f"{key:12} : {text}" for key, text in inherited.items()))
    return "\n".join(texts)


def _text(thing) -> str:
    return inspect.getdoc(thing) or ""


def _first(thing) -> str:
    """The first sentence of a docstring, on one line."""
    paragraph = " ".join(_text(thing).split("\n\n")[0].split())
    return re.split(r"(?<!\bEq)(?<!\bEqs)(?<!\bFig)(?<!\bFigs)(?<!\bSec)\. ", paragraph)[0].rstrip(".")


def _arguments(function) -> str:
    return str(inspect.signature(function))


OUTSIDE = {"model": _model, "method": _method, "observable": _observable, "theory": _theories}


# ------------------------------------------------------------------ for editors and for a start


def descriptions(kind: type[BaseModel], inherited: bool = True) -> dict[str, str]:
    """{key: text} from the lines `key : text` of the docstrings of a class and, inherited, those it extends."""
    found: dict[str, str] = {}
    bases = kind.__mro__ if inherited else (kind,)
    for base in reversed([base for base in bases if issubclass(base, BaseModel) and base.__doc__]):
        key_lines = re.finditer(r"^(\w[\w, ]*?) *: (.+?)(?=^\S|\Z)", inspect.cleandoc(base.__doc__), re.M | re.S)
        for names, text in (match.groups() for match in key_lines):
            for key in names.split(", "):
                if key in kind.model_fields:
                    found[key] = " ".join(text.split())
    return found


def formula(params: BaseModel) -> str:
    """What the docstring of a model says of its H and its rates, in the convention that the parameters have."""
    kind, lines = type(params), []
    for line in _text(kind).splitlines():
        key = re.match(r"(\w[\w, ]*?) *: ", line)
        if key and key[1].split(", ")[0] in kind.model_fields or not line and any("H = " in each for each in lines):
            break
        lines.append(line)
    field, blocks = kind.model_fields.get("convention"), re.split(r"\n(?=\S)", "\n".join(lines).strip())
    others = set(getattr(field.annotation, "__args__", ())) - {getattr(params, "convention", None)} if field else set()
    return "\n".join(block for block in blocks if re.split(r"\W", block)[0] not in others).strip()


def template(model: str, method: str) -> str:
    """A commented config that runs as it is. Raises ConfigError."""
    models, methods = modules("models"), modules("methods")
    for kind, name, known in ("model", model, models), ("method", method, methods):
        if name not in known:
            raise ConfigError(f"--{kind} {name}: unknown {kind}; known: {', '.join(known)}")
    params, options = models[model].Params, methods[method].Options
    example = params(**_example(params))
    if reason := methods[method].supports(models[model].build(example)):
        raise ConfigError(f"--method {method}: does not support model {model}: {reason}")
    lines = [f"title: {_first(models[model])}", "", "model:", f"  name: {model}"]
    lines += _lines(params, example.model_dump(mode="json"))
    lines += ["", "method:", f"  name: {method}", *_lines(options, METHOD_KEY.get(method, {}))]
    lines += ["", "run:", *_lines(Run, Run().model_dump())]
    return "\n".join(lines) + "\n"


def _lines(kind: type[BaseModel], given: dict) -> list[str]:
    """`key: value  # description`; keys that have only their default stand as comments."""
    texts, lines = descriptions(kind), []
    for key, field in kind.model_fields.items():
        value = given.get(key, None if field.is_required() else _plain(field.get_default()))
        shown = yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...").strip()
        comment = texts.get(key, "")
        short = comment if len(comment) < 100 else comment[:97].rsplit(" ", 1)[0] + " ..."
        active = key in given and value is not None
        lines.append(f"  {'' if active else '# '}{key}: {shown}" + (f"    # {short}" if short else ""))
    return lines


def estimates(plan, ranks: int, several: bool) -> Iterator[str]:
    """Yield the lines that `check` prints on the run of one method, one of several."""
    from hpcsim.run import memory
    from hpcsim.run import plan as planning

    per_group = plan.config["run"]["ranks_per_point"]
    ranks = max(ranks, per_group)
    need, have = memory.memory_needed(plan, ranks // per_group), memory.memory_available()
    speed = "calibrated here" if planning.speed.known() else "rough; hpcsim doctor --calibrate makes it better"
    most = "at most " * bool(plan.config["method"].get("target_error"))
    rows: dict[str, Any] = {
        "method": plan.config["method"]["name"] if several else None,
        "title": plan.config["title"] or None,
        "points": plan.points,
        "records": f"{most}{plan.numbering.records}",
        "realisations": plan.config.get("disorder", {}).get("realisations"),
        "in time": ", ".join(plan.config.get("schedule", {})) or None,
        "sites": plan.sites,
        "Hilbert space": f"{plan.dimension:.6g} states",
        "memory": f"{need / 1e9:.3g} GB on {ranks} ranks; {have / 1e9:.3g} GB available here",
        "time": f"{most}{planning.seconds(plan, ranks):.3g} s on {ranks} ranks ({speed})",
        "suggested ranks": f"up to {planning.suggested_ranks(plan)}",
    }
    yield from (f"{name:16} {value}" for name, value in rows.items() if value is not None)
    for i, line in enumerate(formula(plan.problem(plan.first()).params).splitlines()):
        yield f"{'' if i else 'model':16} {line}".rstrip()
    yield from (f"{'warning':16} {text}" for text in planning.warnings(plan))
