"""The JSON Schema of a config, for editors that complete and check YAML: from the types and docstrings of all keys."""

from pydantic import BaseModel

from hpcsim.guide import Lenient, descriptions, modules
from hpcsim.run.config import RANGES, Run, Sections
from hpcsim.run.disorder import KINDS
from hpcsim.system.course import KINDS as COURSES
from hpcsim.system.expression import FUNCTIONS
from hpcsim.system.vocabulary import others


def schema() -> dict:
    """The JSON Schema of a config, with descriptions: for editors that complete and check YAML."""
    swept = {"oneOf": [{"type": "array", "minItems": 1}, _ranges()]}
    axis = {"type": "object", "minProperties": 1, "additionalProperties": False}
    sweep = {
        "type": "array",
        "items": axis
        | {"patternProperties": {r"^((model|method)\.\w+|disorder\.strength|schedule\.model\.\w+\.\w+)$": swept}},
    }
    several = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/method"}, "description": "each has its run"}
    sections = {
        "title": {"type": "string", "description": "what the run shows"},
        "model": _one_of("models", "Params", "the system"),
        "method": {"anyOf": [{"$ref": "#/$defs/method"}, several], "description": "how it is solved"},
        "sweep": sweep | {"description": "each item is an axis; keys of one item advance together"},
        "run": _keys(Run) | {"description": "how to run"},
        "quick": {"type": "object", "description": "replaces parts of the config when run with --quick"},
        "figures": {"type": "array", "description": "drawn by hpcsim plot"},
        "disorder": _disorder(),
        "schedule": _schedule(),
    }
    if missing := set(Sections.model_fields) - set(sections):
        raise KeyError(f"the schema lacks {missing}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hpcsim config",
        "type": "object",
        "additionalProperties": False,
        "required": ["model", "method"],
        "properties": sections,
        "$defs": {"method": _one_of("methods", "Options", "how it is solved")},
    }


def _disorder() -> dict:
    laws = {kind: {"type": "array", "minItems": 1, "description": text} for kind, text in KINDS.items()}
    law = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False, "properties": laws}
    return {
        "type": "object",
        "required": ["realisations"],
        "description": "parameters that are drawn at random for each site, in many realisations",
        "properties": {"realisations": {"type": "integer", "minimum": 2}, "strength": {}},
        "additionalProperties": law,
    }


def _schedule() -> dict:
    constant = {"type": ["number", "string"]}
    numbers = {"type": "array", "minItems": 1, "items": constant}
    kind = {"enum": list(COURSES), "description": "; ".join(f"{name}: {text}" for name, text in COURSES.items())}
    period = constant | {"description": "the times from 0 to it are repeated"}
    of_table = {"times": numbers, "values": numbers, "kind": kind, "period": period}
    function = {"type": ["string", "number"], "description": f"of t, pi, constants, {', '.join(FUNCTIONS)}"}
    table = {"required": ["times", "values"], "properties": of_table, "additionalProperties": False}
    text = {"required": ["function"], "properties": {"function": function, "period": period}}
    course = {"type": "object", "anyOf": [table, text | {"additionalProperties": constant}]}
    return {
        "type": "object",
        "description": "parameters of the model as functions of time, for tasks that evolve",
        "patternProperties": {r"^model\.\w+$": course},
        "additionalProperties": False,
    }


def _ranges() -> dict:
    three = {"type": "array", "minItems": 3, "maxItems": 3, "description": "[first, last, count]"}
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": dict.fromkeys(RANGES, three),
    }


def _one_of(kind: str, options: str, what: str) -> dict:
    """A name and the keys that belong to it. A key may be missing here where the sweep brings it."""
    names = modules(kind)
    branches = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": _keys(getattr(module, options), name),
        }
        for name, module in names.items()
    ]
    named = {"properties": {"name": {"enum": list(names)}}, "required": ["name"]}
    whole = {"type": "object", "allOf": [named, *branches]}
    return {"description": what, "anyOf": [whole, {"enum": list(names)}, _own(what)]}


def _own(what: str) -> dict:
    """A section with a file of the user's own, whose keys nobody knows here."""
    path = {"type": "string", "pattern": r"\.py$", "description": f"Python file of {what}, relative to the config"}
    return {"type": "object", "required": ["file"], "properties": {"file": path}}


def _keys(kind: type[BaseModel], name: str | None = None) -> dict:
    texts, found = descriptions(kind), {}
    for key, field in kind.model_json_schema(schema_generator=Lenient)["properties"].items():
        default = {"default": field["default"]} if "default" in field else {}
        listed = {"enum": field["enum"]} if "enum" in field and all(isinstance(v, str) for v in field["enum"]) else {}
        found[key] = {"description": texts.get(key, key), **default, **listed}
        for other in others(key, kind.model_fields):
            found[other] = {"description": f"another name of {key}", "deprecated": True}
    if name is not None:
        found["name"] = {"const": name}
    return {"type": "object", "properties": found, "additionalProperties": False}
