#!/bin/bash
# Run a quick part of the tests with other versions of the dependencies, in a second environment.
#
#   bash jobs/env/versions.sh oldest [folder]     the oldest that pyproject.toml allows
#   bash jobs/env/versions.sh newest [folder]     the newest that pip finds for the system's PETSc, MPI and numpy
#
# The folder, by default .venv-oldest or .venv-newest in the checkout, is used again by a second call.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
which=${1:-}
case $which in oldest | newest) ;; *) echo "usage: bash jobs/env/versions.sh oldest|newest [folder]" >&2; exit 2 ;; esac
export HPCSIM_VENV=${2:-$PWD/.venv-$which}
export NUMBA_CACHE_DIR=$HPCSIM_VENV/numba  # the compiled kernels of another numba are of no use
unset PIP_CONSTRAINT
if [ "$which" = oldest ]; then
    oldest=$(mktemp)
    trap 'rm -f "$oldest"' EXIT
    python3 jobs/env/venv.py oldest >"$oldest"
    export PIP_CONSTRAINT=$oldest
fi
bash jobs/setup.sh tests
. jobs/env/activate.sh
python - <<'PY'
import importlib.metadata
import re

packages = [re.match(r"[\w-]+", line)[0] for line in importlib.metadata.requires("hpcsim") if "extra ==" not in line]
print("versions:", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
PY
# the commands and Python of the README, the file formats, the figures, and every method once
python -m pytest -q -p no:cacheprovider tests/test_readme.py tests/test_doctor.py tests/test_config.py \
    tests/test_contract.py tests/test_figures.py tests/test_gaussian.py
