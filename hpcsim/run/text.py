"""YAML text to plain data: dicts with words as keys, lists, words, numbers, true, false and null, and nothing else."""

import re

import yaml

from hpcsim.system import shown

LONGEST = 500_000  # characters of a file: a few seconds of reading
DEEPEST, MOST_NODES = 40, 200_000  # lists and mappings in each other; values, those of aliases counted each time
NUMBERS = {
    "int": r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$",  # neither 017 nor 1:30, which YAML 1.1 reads as 15 and 90
    "float": r"^[-+]?(\d[\d_]*\.?|(\d[\d_]*)?\.\d[\d_]*)[eE][-+]?\d+$|^[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)$"
    r"|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$",
}
REFUSED = ("timestamp", "binary", "set", "omap", "pairs")


class BadText(ValueError):
    """What is wrong with a YAML text, and in which line."""


class Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys, and what takes more time or memory than any config needs."""

    def __init__(self, text: str):
        super().__init__(text)
        self._depth, self._nodes, self._sizes = 0, 0, {}

    def compose_node(self, parent, index):
        mark = self.peek_event().start_mark
        before, self._depth = self._nodes, self._depth + 1
        if self._depth > DEEPEST:
            raise BadText(f"{_line(mark)}: more than {DEEPEST} lists or mappings in each other")
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if alias and id(node) not in self._sizes:
            raise BadText(f"{_line(mark)}: an alias of what it stands in")
        self._nodes += self._sizes[id(node)] if alias else 1
        self._sizes[id(node)] = self._nodes - before
        if self._nodes > MOST_NODES:
            raise BadText(f"{_line(mark)}: more than {MOST_NODES} values; write ranges, or fewer aliases")
        self._depth -= 1
        return node

    def construct_object(self, node, deep=False):
        try:
            return in_range(super().construct_object(node, deep))
        except BadText:
            raise
        except (ValueError, TypeError, OverflowError, AttributeError, LookupError):
            tag = node.tag.rpartition(":")[2]
            raise BadText(f"{_line(node.start_mark)}: {shown(node.value)} is no {tag}; quote it") from None

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise BadText(f"{_line(key_node.start_mark)}: key {shown(key)}: keys are words; quote it")
            if key in seen:
                raise BadText(
                    f"{_line(key_node.start_mark)}: duplicate key {shown(key)}: each key may stand once; delete one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def in_range(value):
    """A whole number beyond 64 bits as a float, anything else as it is. Raises OverflowError beyond those, too."""
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def _line(mark) -> str:
    return f"line {mark.line + 1}"


def _resolvers() -> dict:
    """Those of SafeLoader, with our numbers and without dates."""
    ours = {f"tag:yaml.org,2002:{name}" for name in (*NUMBERS, "timestamp")}
    kept = {
        first: [(tag, pattern) for tag, pattern in several if tag not in ours]
        for first, several in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for name, pattern in NUMBERS.items():
        for first in "-+.0123456789":
            kept.setdefault(first, []).append((f"tag:yaml.org,2002:{name}", re.compile(pattern)))
    return kept


Loader.yaml_implicit_resolvers = _resolvers()
for _name in REFUSED:
    Loader.add_constructor(f"tag:yaml.org,2002:{_name}", yaml.SafeLoader.construct_undefined)


def parse(text: str):
    """The data of a YAML text. Raises BadText."""
    if len(text) > LONGEST:
        raise BadText(f"{len(text)} characters are more than {LONGEST}; write ranges instead of lists")
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f"{_line(mark)}, column {mark.column + 1}: " if mark else ""
        raise BadText(f"not YAML: {line}{' '.join(str(problem or error).split())[:300]}") from None
