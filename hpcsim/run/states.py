"""Initial states that a run finds: saved by another run (`save_state: true`), or of the same model with other
parameters."""

import hashlib
from pathlib import Path

import numpy as np

from hpcsim.store import Collected, StoreError
from hpcsim.store.collect import opened
from hpcsim.system import shown
from hpcsim.system.vocabulary import preferred

KEYS = ("state", "select", "state_hash", "states")
NAME = "rho"  # of the output
SAME = 1e-6  # relative difference of numbers that select one label


def located(initial, folder: Path, where: str):
    """{state: FILE, select: {KEY: value}} with the whole path of the file, which need not be there yet.

    folder : where FILE is looked for first; then in the current folder
    Any other value as it is. Raises ValueError.
    """
    if not isinstance(initial, dict) or not isinstance(initial.get("state"), str):
        return initial
    if unknown := sorted(set(initial) - set(KEYS)):
        raise ValueError(f"{where}.{unknown[0]}: unknown key; a saved state has state: FILE and select: {{KEY: value}}")
    beside = folder / initial["state"]
    return {"select": {}, **initial, "state": str((beside if beside.is_file() else Path(initial["state"])).resolve())}


def model_values(values, known, where: str) -> dict:
    """{parameter: value} of the model whose state is meant, under preferred names. Raises ValueError.

    values : {model.KEY: value}, beside them `temperature` of a thermal state
    known  : the parameters that the model has
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} = {shown(values)}: write {{model.KEY: value, ...}}, and nothing beside it")
    found = {}
    for key, value in values.items():
        if key == "temperature":
            continue
        section, _, name = key.partition(".")
        if section != "model" or preferred(name, known) not in known:
            raise ValueError(f"{where}.{key}: write model.KEY, with one of {', '.join(known)}")
        found[preferred(name, known)] = value
    return found


def with_state(config: dict) -> dict:
    """A config with the hash and the size of the density matrix that its method starts from, if it does.

    Raises ValueError where there is none, or another than the config says.
    """
    initial = config["method"].get("initial")
    if not isinstance(initial, dict) or not isinstance(initial.get("state"), str):
        return config
    rho = read(initial)
    return config | {
        "method": config["method"] | {"initial": {**initial, "state_hash": _hash(rho), "states": len(rho)}}
    }


def _hash(rho: np.ndarray) -> str:
    return hashlib.sha256(rho.tobytes()).hexdigest()


def read(item: dict, where: str = "method.initial") -> np.ndarray:
    """The density matrix (D, D) that such an item names. Raises ValueError."""
    path = item["state"]
    if not Path(path).exists():
        raise ValueError(
            f"{where}.state: {path}: no such file; run the config that writes it first, with save_state: true"
        )
    try:
        data = opened(path)
    except StoreError as error:
        raise ValueError(f"{where}.state: {error}") from None
    if NAME not in data.variables:
        raise ValueError(f"{where}.state = {path!r}: holds no state; run it with method.save_state: true")
    variable = data.variables[NAME]
    *sweep, _, _ = variable.dims
    place = _selected(data, sweep, item.get("select") or {}, where)
    rho = variable.values[tuple(place[dim] for dim in sweep)]
    size = int(np.isfinite(np.diagonal(rho)).sum())  # a smaller system than the largest of its file
    if not size:
        raise ValueError(f"{where}.state = {path!r}: this point is not computed yet; run it to its end")
    rho = np.ascontiguousarray(rho[:size, :size])
    if item.get("state_hash") not in (None, _hash(rho)):
        raise ValueError(
            f"{where}.state = {path!r}: holds another state than the config was made with; delete state_hash"
        )
    return rho


def _selected(data: Collected, sweep: list[str], select: dict, where: str) -> dict[str, int]:
    """The index along each dimension of the sweep of the one point that `select` leaves."""
    left = {dim: np.arange(len(data.variables[dim].values)) for dim in sweep}
    if not isinstance(select, dict):
        raise ValueError(f"{where}.select = {shown(select)}: write {{KEY: value}}, as {{field_x: 0.5}}")
    for key, value in select.items():
        labels = data.variables.get(key)
        if labels is None or len(labels.dims) != 1 or labels.dims[0] not in left:
            raise ValueError(f"{where}.select.{key}: the file is swept along {', '.join(sweep) or 'nothing'}")
        kept = [i for i in left[labels.dims[0]] if _same(labels.values[i], value)]
        if not kept:
            known = ", ".join(map(str, labels.values))
            raise ValueError(f"{where}.select.{key} = {shown(value)}: the file has {known}")
        left[labels.dims[0]] = np.array(kept)
    for dim, kept in left.items():
        if len(kept) > 1:
            known = ", ".join(map(str, data.variables[dim].values[kept]))
            raise ValueError(f"{where}.select: the file has several {dim}: {known}; select one")
    return {dim: int(kept[0]) for dim, kept in left.items()}


def _same(label, value) -> bool:
    if isinstance(label, str) or isinstance(value, str):
        return str(label) == str(value)
    return bool(np.isclose(label, value, rtol=SAME, atol=0))
