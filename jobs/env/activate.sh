# shellcheck shell=bash
# Sourced by the scripts in jobs/, and in a shell before typing `hpcsim`: the checkout's .venv (or
# $HPCSIM_VENV) first on the PATH, one thread per MPI rank, and Open MPI's leave to run as root where one is
# root, and more ranks than cores outside of Slurm (MPICH needs no leave).
hpcsim_venv=${HPCSIM_VENV:-$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)/.venv}
if [ -d "$hpcsim_venv/bin" ]; then
    case ":$PATH:" in
        "$hpcsim_venv/bin":*) ;;
        *) export PATH="$hpcsim_venv/bin:$PATH" ;;
    esac
fi
export OMP_NUM_THREADS=1
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
if [ -z "${SLURM_JOB_ID:-}" ]; then
    export OMPI_MCA_rmaps_base_oversubscribe=1                      # Open MPI 4
    export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe     # Open MPI 5
fi
unset hpcsim_venv
