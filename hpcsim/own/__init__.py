"""Models, methods, observables and theory curves of one's own: Python files that the user names, outside the package.

`file: my_model.py` in a section stands for the name of a model or method, in an item of `method.observables` for that
of an observable; a theory of the figures is FILE.py:FUNCTION. A name that the package does not have is looked for as
NAME.py in the folders of HPCSIM_PATH, and among the entry points `hpcsim.models`, `hpcsim.methods` and
`hpcsim.observables` of installed packages, which are loaded only when their name is asked for. The text of a file is
kept in the config, as `source`, with its `source_hash`; of an installed package its name and version, as `package`.

Such a file is code. `run`, `check`, `solve`, `describe`, `plot --config` and `report --config` execute it because the
user names it, and say so. What only reads files that others may have made (`status`, `collect`, `plot`, `report`,
`export`, `open`) executes nothing: so collect evaluates the formulas of one's own observables (see
`hpcsim.observables.formulas`), which are no code, and plot leaves out theories of one's own. A config that brings
another text than its file has is refused, so that nothing runs but the file that the user named.
"""

from hpcsim.own.code import Guarded, executed, module, told
from hpcsim.own.find import IN_A_FILE, KEYS, elsewhere, kind_of, named, read, with_source

__all__ = [
    "IN_A_FILE",
    "KEYS",
    "Guarded",
    "elsewhere",
    "executed",
    "kind_of",
    "module",
    "named",
    "read",
    "told",
    "with_source",
]
