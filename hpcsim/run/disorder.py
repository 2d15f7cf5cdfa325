"""Disorder: parameters that are drawn at random for each site, in many realisations of every point.

    disorder:
      field_z: {uniform: [-1, 1]}     # or {normal: [mean, standard deviation]}, {choice: [value, value, ...]}
      strength: 2                     # multiplies what is drawn; 1 by default; may be swept as disorder.strength
      realisations: 100

What is drawn is added to the value that the model has. Every realisation is a system of its own, with records of its
own: outputs are averages over realisations, with the standard error of their scatter, which is that of disorder and of
trajectories together. What is drawn depends on the seed, the parameters of the model, the realisation and the site,
not on the strength, the method or the number of ranks.
"""

import numpy as np

from hpcsim.ensemble.streams import fill_words
from hpcsim.system import shown
from hpcsim.system.vocabulary import preferred

KEY = "disorder"
POINT = "(disorder)"  # where the model of one realisation has the section, with `seed` and `realisation`
NAMES = ("strength", "realisations")
MOST = 10**5  # realisations
KINDS = {"uniform": "[lowest, highest]", "normal": "[mean, standard deviation]", "choice": "[value, value, ...]"}
PURPOSE = 100  # of the random words; methods use small numbers


def checked(section: dict, swept: list[str]) -> dict:
    """The section `disorder` with its defaults, or an empty one. Raises ValueError with the path of what is wrong.

    swept : keys of the sweep
    """
    if not section:
        if f"{KEY}.strength" in swept:
            raise ValueError("sweep: disorder.strength is swept, and there is no section disorder; add it")
        return {}
    found = {"strength": 1.0, **section}
    count = found.get("realisations")
    if type(count) is not int or not 2 <= count <= MOST:
        raise ValueError(f"disorder.realisations = {shown(count)}: an integer from 2 to {MOST} is needed")
    if not _is_number(found["strength"]):
        raise ValueError(f"disorder.strength = {shown(found['strength'])}: a number is needed")
    laws = {key: law for key, law in sorted(found.items()) if key not in NAMES}
    if not laws:
        raise ValueError("disorder: says no parameter; write for example field_z: {uniform: [-1, 1]}")
    for key, law in laws.items():
        _check(law, f"disorder.{key}")
    return laws | {key: found[key] for key in NAMES}


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(law, where: str):
    kinds = "; ".join(f"{{{kind}: {arguments}}}" for kind, arguments in KINDS.items())
    kind, numbers = next(iter(law.items())) if isinstance(law, dict) and len(law) == 1 else (None, None)
    right = kind in KINDS and isinstance(numbers, list) and numbers and all(map(_is_number, numbers))
    if right and kind != "choice":
        right = len(numbers) == 2 and (numbers[0] <= numbers[1] if kind == "uniform" else numbers[1] >= 0)
    if not right:
        raise ValueError(f"{where} = {shown(law)}: write one of {kinds}")


def drawn(section: dict, params, sites: int, key: tuple[int, int]) -> dict:
    """{parameter: list of one number for each site} of one realisation. Raises ValueError.

    section : with `realisation`, its number
    params  : of the model, whose values what is drawn is added to
    key     : of the random streams of the point without disorder
    """
    found = {}
    fields = type(params).model_fields
    laws = {preferred(name, fields): law for name, law in section.items() if isinstance(law, dict)}
    for i, (name, law) in enumerate(sorted(laws.items())):
        if name not in fields:
            raise ValueError(f"disorder.{name}: the model has no such parameter; it has {', '.join(fields)}")
        base = getattr(params, name)
        if np.shape(base) not in ((), (sites,)) or not np.issubdtype(np.asarray(base).dtype, np.number):
            raise ValueError(f"disorder.{name}: the model's value, {shown(base)}, is no number of each site")
        words = np.empty((4, sites), np.uint64)
        fill_words(words, *(np.uint64(x) for x in (section["realisation"], i, 0, PURPOSE)), np.array(key, np.uint64))
        found[name] = (base + section["strength"] * _law(law, (words + 0.5) / 2.0**32)).tolist()
    return found


def _law(law: dict, uniform: np.ndarray) -> np.ndarray:
    """(sites,) numbers of a distribution from (4, sites) uniform ones in (0, 1)."""
    kind, numbers = next(iter(law.items()))
    if kind == "uniform":
        low, high = numbers
        return low + (high - low) * uniform[0]
    if kind == "normal":
        mean, deviation = numbers
        return mean + deviation * np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1])
    return np.array(numbers, float)[(uniform[0] * len(numbers)).astype(int)]
