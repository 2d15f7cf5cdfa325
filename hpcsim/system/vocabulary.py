"""One name for one thing in all models, and the other names that are read as well."""

# name: other names. A class of parameters that has a field of such a name itself keeps it.
ALSO = {
    "sites": ("N",),
    "field_x": ("drive", "field"),
    "gain": ("pump",),
    "collective_gain": ("collective_pump",),
}
# of hpcsim's own models: keys that came later, with what they stand for in files of former versions
LATER: dict[str, dict] = {
    "collective_spin": {"n_th": 0.0},
    "kerr_oscillator": {"n_th": 0.0},
    "spin_network": {
        "convention": "huber2021",
        "n_th": 0.0,
        "terms": [],
        "jumps": [],
        "terms_strength": 1.0,
        "jumps_strength": 1.0,
    },
}
NAMES = {other: name for name, others in ALSO.items() for other in others}


def preferred(key: str, fields) -> str:
    """The field that a key of a config means, of parameters with these fields; the key itself where there is none."""
    name = NAMES.get(key, key)
    return name if key not in fields and name in fields else key


def meaning(key: str, model: dict) -> str:
    """A key model.NAME of a config under the preferred name; all others, and a model's of one's own, as they are.

    model : the section of the config
    """
    section, _, name = key.partition(".")
    return f"model.{NAMES.get(name, name)}" if section == "model" and not _is_own(model) else key


def same(one: str, other: str) -> bool:
    """Whether two names are those of one thing."""
    return NAMES.get(one, one) == NAMES.get(other, other)


def others(name: str, fields) -> tuple[str, ...]:
    """What else is read for a field."""
    return tuple(other for other in ALSO.get(name, ()) if other not in fields)


def in_preferred_names(values: dict, fields) -> dict:
    """The values under the names of the fields. Raises ValueError where one has two names."""
    found = {}
    for key, value in values.items():
        name = preferred(key, fields) if isinstance(key, str) else key
        if name in found or name != key and name in values:
            one, other = [each for each in values if preferred(each, fields) == name][:2]
            raise ValueError(f"{one} and {other} are two names of one parameter, {name}; give one of them")
        found[name] = value
    return found


def modern(model: dict) -> dict:
    """The section `model` of a file of a former version, as this one writes it; a model of one's own as it is."""
    if _is_own(model):
        return model
    renamed = {NAMES.get(key, key): value for key, value in model.items()}
    later = LATER.get(model.get("name"), {})
    return renamed | {key: value for key, value in later.items() if key not in renamed}


def _is_own(model: dict) -> bool:
    """Whether a section `model` is that of a model outside hpcsim."""
    return bool({"source", "package"} & model.keys())


def with_synonyms(known: dict) -> dict:
    """All that is known under every name that it has; what is there under a name keeps it."""
    found = dict(known)
    for name, others in ALSO.items():
        present = [each for each in (name, *others) if each in known]
        for each in (name, *others) if present else ():
            found.setdefault(each, known[present[0]])
    return found
