"""Which options of PETSc and SLEPc a config or the environment may set. Everything else is refused.

The options database can do more than tune a solver: viewers and monitors write to any file, and run a program where
the file's name ends in .gz. So options are allowed by name, each with the values that it can take.
"""

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from hpcsim.system import meant, shown

PREFIX = "hpcsim_"  # of all solvers' options in PETSc's database


@dataclass(frozen=True)
class Integer:
    low: int
    high: int = 2**31 - 1

    def __call__(self, value):
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[-+]?\d{1,10}", value) else value
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or not self.low <= number <= self.high:
            raise ValueError(f"a whole number from {self.low} to {self.high} is needed")
        return number


@dataclass(frozen=True)
class Real:
    low: float
    high: float

    def __call__(self, value):
        number = value if isinstance(value, (int, float)) else None
        if isinstance(value, str):
            with suppress(ValueError):
                number = float(value[:40])
        if number is None or isinstance(value, bool) or not self.low <= number <= self.high:
            raise ValueError(f"a number from {self.low:g} to {self.high:g} is needed")
        return float(number)


class Flag:
    WORDS = {"1": 1, "true": 1, "yes": 1, "on": 1, "0": 0, "false": 0, "no": 0, "off": 0}

    def __call__(self, value):
        word = shown(value) if isinstance(value, (bool, int)) else value
        word = word.lower() if isinstance(word, str) else None
        if word not in self.WORDS:
            raise ValueError("true or false is needed")
        return self.WORDS[word]


class Word:
    def __init__(self, *words: str):
        self.words = words

    def __call__(self, value):
        if value not in self.words:
            raise ValueError(f"one of {', '.join(self.words)} is needed")
        return value


ITERATIONS, TOLERANCE = Integer(1), Real(0, 1)
EIGENVALUES = {
    "eps_type": Word("krylovschur", "arnoldi", "subspace"),
    "eps_ncv": ITERATIONS,
    "eps_mpd": ITERATIONS,
    "eps_max_it": ITERATIONS,
    "eps_tol": TOLERANCE,
    "eps_balance": Word("none", "oneside", "twoside"),
    "eps_balance_its": ITERATIONS,
    "eps_krylovschur_restart": TOLERANCE,
    "eps_krylovschur_locking": Flag(),
    "eps_true_residual": Flag(),
    "bv_type": Word("svec", "vecs", "contiguous", "mat"),
}
EXPONENTIALS = {
    "mfn_type": Word("krylov", "expokit"),
    "mfn_ncv": ITERATIONS,
    "mfn_max_it": ITERATIONS,
    "mfn_tol": TOLERANCE,
}
LINEAR = {
    "st_ksp_type": Word("preonly", "gmres", "fgmres", "lgmres", "bcgs", "bcgsl", "tfqmr", "richardson"),
    "st_ksp_rtol": TOLERANCE,
    "st_ksp_atol": Real(0, 1e300),
    "st_ksp_divtol": Real(1, 1e300),
    "st_ksp_max_it": ITERATIONS,
    "st_ksp_gmres_restart": ITERATIONS,
    "st_ksp_pc_side": Word("left", "right"),
    "st_pc_type": Word("lu", "ilu", "jacobi", "bjacobi", "asm", "none"),
    "st_pc_factor_mat_solver_type": Word(
        "mumps", "superlu_dist", "superlu", "petsc", "umfpack", "klu", "strumpack", "pastix", "mkl_pardiso"
    ),
    "st_pc_factor_mat_ordering_type": Word(
        "natural", "nd", "1wd", "rcm", "qmd", "rowlength", "amd", "metisnd", "external"
    ),
    "st_pc_factor_shift_type": Word("none", "nonzero", "positive_definite", "inblocks"),
    "st_pc_factor_shift_amount": Real(0, 1e300),
    "st_pc_factor_zeropivot": Real(0, 1e300),
    "st_pc_factor_levels": Integer(0, 100),
    "st_pc_factor_fill": Real(1, 1e6),
}
# The controls of MUMPS that neither print (1 to 4) nor change what is computed (19, 25, 26, 31, 33)
MUMPS = {
    f"st_mat_mumps_icntl_{number}": Integer(low, high)
    for number, (low, high) in {
        6: (0, 7),
        7: (0, 7),
        8: (-2, 77),
        10: (-100, 100),
        11: (0, 2),
        12: (0, 3),
        13: (-(2**31), 2**31 - 1),
        14: (0, 100000),
        22: (0, 1),
        23: (0, 2**31 - 1),
        24: (0, 1),
        27: (-(2**31), 2**31 - 1),
        28: (0, 2),
        29: (0, 2),
        35: (0, 3),
        36: (0, 1),
        38: (0, 1000),
        58: (0, 2),
    }.items()
} | {f"st_mat_mumps_cntl_{number}": Real(-1e300, 1e300) for number in (1, 2, 3, 4, 5, 7)}
SUPERLU = {
    "st_mat_superlu_dist_equil": Flag(),
    "st_mat_superlu_dist_rowperm": Word("NOROWPERM", "NATURAL", "LargeDiag_MC64", "LargeDiag_AWPM"),
    "st_mat_superlu_dist_colperm": Word("NATURAL", "MMD_AT_PLUS_A", "MMD_ATA", "METIS_AT_PLUS_A", "PARMETIS"),
    "st_mat_superlu_dist_replacetinypivot": Flag(),
    "st_mat_superlu_dist_parsymbfact": Flag(),
    "st_mat_superlu_dist_iterrefine": Flag(),
    "st_mat_superlu_dist_fact": Word("SamePattern", "SamePattern_SameRowPerm", "DOFACT"),
    "st_mat_superlu_dist_r": ITERATIONS,
    "st_mat_superlu_dist_c": ITERATIONS,
}
ALLOWED = EIGENVALUES | EXPONENTIALS | LINEAR | MUMPS | SUPERLU
# These concern the process and not the solvers; values may not name a file
OF_THE_PROCESS = {"use_gpu_aware_mpi": Flag(), "no_signal_handler": Flag(), "skip_petscrc": Flag()}


def allowed(given):
    """`given`, {option without the leading dash: value}, with every value checked and converted.

    Raises ValueError naming the option that is not allowed, or the value, and what is.
    """
    if not isinstance(given, dict):
        raise ValueError("a mapping {option: value} is needed, such as {eps_ncv: 40}")
    return {name: _checked(name, value, ALLOWED) for name, value in given.items()}


def _checked(name, value, known):
    if name not in known:
        raise ValueError(
            f"{shown(name)} is not allowed{meant(name, known)}; allowed are tolerances, iterations and types of the "
            "solvers (eps_, mfn_, st_ksp_, st_pc_) and the controls of MUMPS (st_mat_mumps_icntl_14, ...) and "
            "SuperLU_DIST; no viewers, monitors or files"
        )
    try:
        return known[name](value)
    except ValueError as error:
        raise ValueError(f"{name} = {shown(value)}: {error}") from None


def of_environment(text: str) -> tuple[dict, list[str]]:
    """The options of PETSC_OPTIONS that are allowed, and the others as they are written there."""
    try:
        words = shlex.split(text, posix=False)
    except ValueError:
        words = text.split()
    known = OF_THE_PROCESS | {PREFIX + name: kind for name, kind in ALLOWED.items()}
    kept, refused, position = {}, [], 0
    while position < len(words):
        name, value = words[position], None
        position += 1
        if position < len(words) and not re.match(r"-[A-Za-z]", words[position]):
            value = words[position]
            position += 1
        try:
            kept[name.removeprefix("-")] = _checked(name.removeprefix("-"), "1" if value is None else value, known)
        except ValueError:
            refused.append(" ".join(filter(None, (name, value))))
    return kept, refused


# The type of `petsc_options` in every method's Options
PetscOptions = Annotated[dict[str, Any], BeforeValidator(allowed)]
