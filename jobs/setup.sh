#!/bin/bash
# Install what hpcsim needs and is not there yet. Anything already there is left alone, so a second
# call takes seconds.
#
#   bash jobs/setup.sh           to run it
#   bash jobs/setup.sh tests     and to test it
#
# MPI, PETSc, SLEPc and parallel HDF5, with their Python packages, come from
#   1. the python3 on the PATH if it imports them all (conda, Spack, modules), or $HPCSIM_PYTHON;
#   2. else Debian's packages, installed here if this is root or sudo asks for no password.
# The rest comes by pip into .venv in the checkout, which sees the former. Two other ways:
#   HPCSIM_PETSC=pip bash jobs/setup.sh    all of it by pip, on one machine (Python 3.12 or later, x86_64): MPICH's
#       wheel, and the PETSc with MUMPS of the third-party wheel dolfinx-solver-real
#   HPCSIM_PETSC=none bash jobs/setup.sh   no PETSc: for all methods except liouvillian and permutation
# HPCSIM_VENV=folder takes another folder than .venv.
# Exit status 2: an administrator or a choice of yours is needed, and the message says which.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mode=${1:-run}
route=${HPCSIM_PETSC:-system}
venv=${HPCSIM_VENV:-$root/.venv}
PATH=${PATH//"$venv/bin:"/}  # an activated .venv is not what .venv is made from
case $route in
    none) extras='' bound=(mpi4py h5py) ;;
    *) extras=petsc bound=(mpi4py petsc4py slepc4py h5py) ;;
esac
[ "$mode" != tests ] || extras=$extras${extras:+,}test

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { say "$1"; exit "${2:-2}"; }

lock() {
    exec 9<"$root"
    flock -n 9 || { say "waiting for another jobs/setup.sh in this checkout"; flock -w 1800 9; } ||
        stop "another jobs/setup.sh has held this checkout for half an hour; end it and try again" 1
}

# The lines of this file's stamp in .venv: what was asked for, and from which lists.
stamp() { printf '%s %s %s\n' "$1" "$route" "$(cat pyproject.toml jobs/setup.sh jobs/env/venv.py | cksum)"; }

complete() { grep -qxF "$(stamp "$mode")" "$venv/hpcsim-setup" 2>/dev/null && [ -z "$(lacking)" ]; }

# What is not there of all that is to be there.
lacking() {
    [ -x "$venv/bin/hpcsim" ] || echo .venv/bin/hpcsim
    PATH=$venv/bin:$PATH command -v mpirun srun >/dev/null || echo mpirun
    # shellcheck disable=SC2046
    "$venv/bin/python" jobs/env/venv.py lacking "$extras" $(cat "$venv/from-system" 2>/dev/null) 2>&1 ||
        echo .venv/bin/python
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

imports() { "$1" -c 'import venv' && "$1" jobs/env/venv.py bound "${bound[@]}"; } 2>&1

other_ways="Without an administrator: HPCSIM_PETSC=pip bash jobs/setup.sh (all of it by pip, for one machine)
       or conda: conda env create -f jobs/env/conda.yaml && conda activate hpcsim
       or Spack: spack env create hpcsim jobs/env/spack.yaml (then install and activate it), or a container:
       apptainer build hpcsim.sif jobs/env/hpcsim.def; then run this again."

# Sets python, and system: the packages bound to MPI that come from it and not from pip.
choose_python() {
    python=${HPCSIM_PYTHON:-$(command -v python3 || true)}
    # of an environment that is active, what it was made from: another one does not see what it holds
    [ -z "$python" ] || python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))' || echo "$python")
    system=("${bound[@]}")
    if [ "$route" = pip ]; then
        system=()
    elif [ -n "$python" ] && imports "$python" >/dev/null; then
        command -v mpirun >/dev/null || command -v srun >/dev/null ||
            stop "$python has mpi4py, but neither mpirun nor srun is on the PATH: add the MPI it was built with"
    elif [ "$route" = none ]; then
        system=()
    elif [ -n "${HPCSIM_PYTHON:-}" ]; then
        stop "HPCSIM_PYTHON=$HPCSIM_PYTHON does not import what is needed: $(imports "$python" | tail -n 1)"
    elif command -v apt-get >/dev/null; then
        take_debian
    else
        stop "the python3 on the PATH (${python:-none}) does not import mpi4py, petsc4py, slepc4py and h5py.
       Load the modules that have them, or name such a Python: HPCSIM_PYTHON=/path/to/python3
       $other_ways"
    fi
    "${python:-false}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "${python:-python3} is $("${python:-false}" -V 2>&1 || echo missing), but Python 3.11 or later is needed. $other_ways"
    if [ "$route" = pip ]; then
        "$python" -c 'import sys, platform; sys.exit(sys.version_info < (3, 12) or platform.machine() != "x86_64")' ||
            stop "HPCSIM_PETSC=pip: the wheel dolfinx-solver-real needs Python 3.12 or later on x86_64, and $python is
       $("$python" -V) on $(uname -m): name another by HPCSIM_PYTHON"
    fi
}

take_debian() {
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
    imports "$python" >/dev/null ||
        stop "$python does not import what Debian's packages hold: $(imports "$python" | tail -n 1)" 1
}

newest() { printf '%s\n' "$@" | sort -V | tail -n 1; }

# Whether .venv is there and sees what comes from the system.
usable() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 1
    [ "$(cat "$venv/from-system" 2>/dev/null || echo "${system[*]}")" = "${system[*]}" ] || return 1
    [ ${#system[@]} = 0 ] || imports "$venv/bin/python" >/dev/null
}

make_venv() {
    local options=()
    [ ${#system[@]} = 0 ] || options=(--system-site-packages)
    if ! usable; then
        say "making ${venv#"$root"/} with $python"
        "$python" -m venv --clear "${options[@]}" "$venv" ||
            stop "$python could not make $venv: see the lines above (on Debian, python3-venv is needed)" 1
    fi
    echo "${system[*]}" >"$venv/from-system"
    if [ ${#system[@]} -gt 0 ]; then
        hold "$python" "${system[@]}"
        "$venv/bin/python" jobs/env/venv.py place "${system[@]}"
    else
        : >"$venv/constraints.txt"
    fi
}

# hold PYTHON NAME...: pip in .venv keeps these, and the numpy they are compiled for, now and later
hold() {
    "$1" jobs/env/venv.py held "${@:2}" >"$venv/constraints.txt"
    printf '[global]\nconstraint = %s\n' "$venv/constraints.txt" >"$venv/pip.conf"
}

pip_install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-warn-script-location \
        --root-user-action=ignore --constraint "$venv/constraints.txt" "$@" >&2 ||
        stop "pip could not install into .venv: see the lines above. Without a network, point pip at a
       mirror or a folder of wheels (PIP_INDEX_URL, or PIP_NO_INDEX=1 with PIP_FIND_LINKS=folder)" 1
}

install_packages_of_pip() {
    say "installing into ${venv#"$root"/} by pip: hpcsim and what it needs${extras:+ [$extras]}"
    if [ ${#system[@]} = 0 ]; then
        pip_install 'mpich>=5,<6' mpi4py h5py numpy
        # its finite elements are not needed, and so its own dependencies are not
        [ "$route" = none ] || pip_install --no-deps dolfinx-solver-real
        hold "$venv/bin/python" "${bound[@]}"
        "$venv/bin/python" jobs/env/venv.py place "${bound[@]}"
    fi
    pip_install 'setuptools>=77' 'packaging>=24.2'
    pip_install --no-build-isolation --editable ".${extras:+[$extras]}"
}

# -----------------------------------------------------------------------------------------------

case $mode in run | tests) ;; *) stop "usage: bash jobs/setup.sh [tests]" ;; esac
case $route in system | pip | none) ;; *) stop "HPCSIM_PETSC=$route: it may be system (default), pip or none" ;; esac
lock
if [ "$mode" = tests ] && command -v apt-get >/dev/null && ! install_packages jobs/env/debian-tests.txt; then
    say "tests that need a package not installed will say so. Ask an administrator for: $ask"
fi
complete && exit 0
choose_python
make_venv
install_packages_of_pip
said=$(lacking)
[ -z "$said" ] || stop "still missing: $said. Remove .venv and try again" 1
stamp run >"$venv/hpcsim-setup"
if [ "$mode" = tests ]; then stamp tests >>"$venv/hpcsim-setup"; fi
say "done"
