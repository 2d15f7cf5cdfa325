"""Several methods in one config: `method` is a list, and each of them has a run, and a run file, of its own."""

from pathlib import Path

from hpcsim.system import shown

EXAMPLE = "method: [liouvillian, {name: trajectories, burn_in: 20}]"


def chosen(method, which: int):
    """One of a list of methods, as it would stand alone; what is no list as it is. Raises ValueError."""
    if not isinstance(method, list):
        return method
    one = _items(method)[which]
    return {"name": one} if isinstance(one, str) else one


def words(method) -> list[str]:
    """A word for each of a list of methods: its name, from the second of a name on with a number behind; else [""].

    The words of the first ones stay where more are added at the end. Raises ValueError.
    """
    if not isinstance(method, list):
        return [""]
    names = [str(each.get("name") or Path(str(each["file"])).stem) for each in map(_section, _items(method))]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if count == 1 else f"{name}-{count}" for name, count in zip(names, counts)]


def changed(method: list, over: dict, merge) -> list | dict:
    """A list of methods with {number: {key: value}} merged into its items, or one with a name, which replaces it.

    Raises ValueError.
    """
    if {"name", "file"} & over.keys():
        return over
    found = list(method)
    for number, value in over.items():
        if not str(number).isdigit() or int(number) >= len(found):
            raise ValueError(
                f"method.{number}: this config has a list of methods, 0 to {len(found) - 1}; name one by its number, "
                f"for example --set method.0.{number}=..., or replace the list"
            )
        i = int(number)
        found[i] = merge(_section(found[i]), value) if isinstance(value, dict) else value
    return found


def _section(item) -> dict:
    return {"name": item} if isinstance(item, str) else item


def _items(method: list) -> list:
    if not method:
        raise ValueError(f"method = []: at least one method is needed, as in {EXAMPLE}")
    for i, each in enumerate(method):
        if not isinstance(each, str) and not (isinstance(each, dict) and {"name", "file"} & each.keys()):
            raise ValueError(f"method.{i} = {shown(each)}: the name of a method is needed, as in {EXAMPLE}")
    return method
