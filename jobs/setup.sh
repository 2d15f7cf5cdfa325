#!/bin/bash
# Install what hpcsim needs and is not there yet. Anything already there is left alone, so a second
# call takes a second.
#
#   bash jobs/setup.sh           to run it
#   bash jobs/setup.sh tests     and to test it
#
# MPI, PETSc, SLEPc and parallel HDF5, with their Python packages, come from
#   1. the python3 on the PATH if it imports them all (conda, Spack, modules), or $HPCSIM_PYTHON;
#   2. else Debian's packages, installed here if this is root or sudo asks for no password.
# The rest comes by pip into .venv in the checkout, which sees the former.
# Exit status 2: an administrator or a choice of yours is needed, and the message says which.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mode=${1:-run}
venv=$root/.venv
PATH=${PATH//"$venv/bin:"/}  # an activated .venv is not what .venv is made from

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$1"; exit "${2:-2}"; }

lock() {
    exec 9<"$root"
    flock -n 9 || { say "waiting for another jobs/setup.sh in this checkout"; flock -w 1800 9; } ||
        stop "another jobs/setup.sh has held this checkout for half an hour; end it and try again" 1
}

# The lines of this file's stamp in .venv: what was asked for, and from which list.
stamp() { printf '%s %s\n' "$1" "$(cat pyproject.toml jobs/setup.sh | cksum)"; }

complete() { grep -qxF "$(stamp "$mode")" "$venv/hpcsim-setup" 2>/dev/null && [ -z "$(lacking)" ]; }

# What is not there of all that is to be there.
lacking() {
    [ -x "$venv/bin/hpcsim" ] || echo .venv/bin/hpcsim
    command -v mpirun srun >/dev/null || echo mpirun
    "$venv/bin/python" - <<'PY' 2>&1 || echo .venv/bin/python
import importlib.util
for name in ("mpi4py", "petsc4py", "slepc4py", "h5py", "numpy", "scipy", "numba", "yaml", "matplotlib", "pydantic",
             "tenpy"):
    if importlib.util.find_spec(name) is None:
        print(name)
PY
}

# --- Debian ------------------------------------------------------------------------------------

missing_packages() {
    local package
    grep -v '^#' "$1" | while read -r package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# install_packages LIST: true if all of them are installed afterwards.
install_packages() {
    local missing
    missing=$(missing_packages "$1" | xargs)
    [ -n "$missing" ] || return 0
    if as_root true 2>/dev/null; then
        say "installing Debian packages: $missing"
        # shellcheck disable=SC2015,SC2086
        as_root apt-get -qq update && as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
            -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing >&2 ||
            stop "apt-get could not install them: see the lines above" 1
    else
        ask="apt-get install --no-install-recommends $missing"
        return 1
    fi
}

# --- Python ------------------------------------------------------------------------------------

imports_all() { "$1" -c 'import mpi4py, petsc4py, slepc4py, h5py, venv' 2>/dev/null; }

other_ways="Without an administrator: conda env create -f jobs/env/conda.yaml && conda activate hpcsim
       or Spack: spack env create hpcsim jobs/env/spack.yaml (then install and activate it), or a container:
       apptainer build hpcsim.sif jobs/env/hpcsim.def; then run this again."

choose_python() {
    python=${HPCSIM_PYTHON:-$(command -v python3 || true)}
    if [ -n "$python" ] && imports_all "$python"; then
        command -v mpirun >/dev/null || command -v srun >/dev/null ||
            stop "$python has mpi4py, but neither mpirun nor srun is on the PATH: add the MPI it was built with"
    elif [ -n "${HPCSIM_PYTHON:-}" ]; then
        stop "HPCSIM_PYTHON=$HPCSIM_PYTHON does not import mpi4py, petsc4py, slepc4py, h5py and venv: $(
            "$HPCSIM_PYTHON" -c 'import mpi4py, petsc4py, slepc4py, h5py, venv' 2>&1 | tail -n 1)"
    elif command -v apt-get >/dev/null; then
        install_packages jobs/env/debian.txt ||
            stop "packages are missing. Ask an administrator of this machine for
       $ask
       $other_ways"
        python=/usr/bin/python3
        # Debian keeps every build of PETSc apart: take the newest real one with 32-bit indices
        local petsc slepc
        petsc=$(newest /usr/lib/petscdir/petsc[0-9].*/*-real/lib/python3*/dist-packages)
        slepc=$(newest /usr/lib/slepcdir/slepc[0-9].*/*-real/lib/python3*/dist-packages)
        export PYTHONPATH=$petsc:$slepc${PYTHONPATH:+:$PYTHONPATH}
        imports_all "$python" || stop "$python does not import what Debian's packages hold: $(
            "$python" -c 'import mpi4py, petsc4py, slepc4py, h5py, venv' 2>&1 | tail -n 1)" 1
    else
        stop "the python3 on the PATH (${python:-none}) does not import mpi4py, petsc4py, slepc4py and h5py.
       Load the modules that have them, or name such a Python: HPCSIM_PYTHON=/path/to/python3
       $other_ways"
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "$python is $("$python" -V), but Python 3.11 or later is needed. $other_ways"
}

newest() { printf '%s\n' "$@" | sort -V | tail -n 1; }

make_venv() {
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || ! imports_all "$venv/bin/python"; then
        say "making .venv with $python"
        "$python" -m venv --clear --system-site-packages "$venv" ||
            stop "$python could not make $venv: see the lines above (on Debian, python3-venv is needed)" 1
    fi
    # Where the Python packages bound to MPI are, for when PYTHONPATH or the modules are gone
    "$python" - >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/system-mpi.pth" <<'PY'
import importlib.util
import pathlib
for name in ("mpi4py", "petsc4py", "slepc4py", "h5py"):
    print(pathlib.Path(importlib.util.find_spec(name).origin).parent.parent)
PY
}

# What pip is asked for: pyproject.toml's lists without the packages bound to MPI. Those are held at the
# version that is there; Debian's h5py carries no version that pip sees, so it is left out altogether.
requirements() {
    "$venv/bin/python" - "$mode" <<'PY'
import importlib.metadata
import re
import sys
import tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
if sys.argv[1] == "tests":
    wanted += project["project"]["optional-dependencies"]["test"]
present = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
for requirement in wanted:
    name = re.match(r"[\w-]+", requirement)[0]
    if name not in ("mpi4py", "petsc4py", "slepc4py", "h5py"):
        print(requirement)
    elif name in present:
        print(f"{name}=={present[name]}")
PY
}

# A wheel of one of them, pulled in by some other package, would bring a second MPI or serial HDF5.
none_from_pip() {
    "$venv/bin/python" - <<'PY'
import importlib.util
import sys
for name in ("mpi4py", "petsc4py", "slepc4py", "h5py"):
    origin = importlib.util.find_spec(name).origin
    if origin.startswith(sys.prefix):
        sys.exit(f"setup: pip has put its own {name} into .venv, which does not know this machine's MPI")
PY
}

pip_install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-warn-script-location \
        --root-user-action=ignore "$@" >&2 ||
        stop "pip could not install into .venv: see the lines above. Without a network, point pip at a
       mirror or a folder of wheels (PIP_INDEX_URL, or PIP_NO_INDEX=1 with PIP_FIND_LINKS=folder)" 1
}

# -----------------------------------------------------------------------------------------------

case $mode in run | tests) ;; *) stop "usage: bash jobs/setup.sh [tests]" ;; esac
lock
if [ "$mode" = tests ] && command -v apt-get >/dev/null && ! install_packages jobs/env/debian-tests.txt; then
    say "tests that need a package not installed will say so. Ask an administrator for: $ask"
fi
complete && exit 0
choose_python
make_venv
list=$(requirements)
say "installing into .venv by pip: $(tr '\n' ' ' <<<"$list")"
mapfile -t wanted <<<"$list"
pip_install "${wanted[@]}"
pip_install --no-deps --no-build-isolation --editable .
none_from_pip
[ -z "$(lacking)" ] || stop "still missing: $(lacking | xargs). Remove .venv and try again" 1
stamp run >"$venv/hpcsim-setup"
if [ "$mode" = tests ]; then stamp tests >>"$venv/hpcsim-setup"; fi
say "done"
