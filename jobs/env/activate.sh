# shellcheck shell=bash
# Sourced by the scripts in jobs/, and in a shell before typing `hpcsim`: the checkout's .venv
# first on the PATH, one thread per MPI rank, and Open MPI's leave to run as root where one is root.
hpcsim_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -d "$hpcsim_root/.venv/bin" ]; then
    case ":$PATH:" in
        "$hpcsim_root/.venv/bin":*) ;;
        *) export PATH="$hpcsim_root/.venv/bin:$PATH" ;;
    esac
fi
export OMP_NUM_THREADS=1
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
unset hpcsim_root
