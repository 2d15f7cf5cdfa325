"""A config as a run keeps it: every default written out, and what is swept at one point of it."""

import json

from hpcsim.run import courses
from hpcsim.run.disorder import KEY as DISORDER
from hpcsim.run.disorder import POINT
from hpcsim.run.problem import Problem, sections_of
from hpcsim.system import System
from hpcsim.system.vocabulary import in_preferred_names, preferred


def without_swept(config: dict, given: System | None) -> dict:
    """A config whose model lacks what is swept under another name.

    Axes keep the names that the user gave them: those are the coordinates of the results.
    """
    fields = sections_of(config, given)["model"].model_fields
    swept = {key.split(".")[1] for axis in config["sweep"] for key in axis if key.startswith("model.")}
    meant = {preferred(key, fields) for key in swept}
    kept = {key: value for key, value in config["model"].items() if key in swept or preferred(key, fields) not in meant}
    return config | {"model": kept}


class Resolved:
    """A config with every default written out that is the same at all points of the sweep, under preferred names.

    A default that depends on what is swept is left out: every point finds its own again.
    """

    def __init__(self, config: dict):
        self._config, self._found, self._fields, self._last = config, {}, {}, {}
        self._swept = {tuple(key.split(".", 1)) for axis in config["sweep"] for key in axis}

    def add(self, problem: Problem):
        for section, values in ("model", problem.base), ("method", problem.options):
            if values is self._last.get(section):
                continue
            self._fields[section], self._last[section] = type(values).model_fields, values
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


def swept(config: dict, model: dict, method: dict) -> dict:
    """The values of the sweep at one point."""
    sections = {"model": model, "method": method, DISORDER: model.get(POINT)}
    found = {}
    for section, _, name in (key.partition(".") for axis in config["sweep"] for key in axis):
        of_time = section == courses.KEY
        value = courses.value(model[courses.POINT], name) if of_time else sections[section][name]
        found[f"{section}.{name}"] = value
    return found
