#!/bin/bash
# Install what is missing, then run all tests: lint, format and types; those that need one process; then
# tests/mpi, which are collective, under mpirun with 1, 2 and 3 ranks.
#
#   bash jobs/test.sh [options of pytest]
#
# Exit status 0: all passed. HPCSIM_REQUIRE_ALL=1 makes a test fail where it would be skipped
# because something is not installed. HPCSIM_COVERAGE=0 leaves out the measurement of coverage.
# HPCSIM_TEST_PROCESSES: how many processes share the serial tests, by default as many as there are cores.
# HPCSIM_TEST_RANKS: the numbers of ranks that tests/mpi run with, by default 1 2 3.
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit
bash jobs/setup.sh tests || exit
. jobs/env/activate.sh
logs=$(mktemp -d)
export logs COVERAGE_FILE=$logs/coverage
trap 'rm -rf "$logs"' EXIT
failed=0
selected=$(($# > 0))

# stage NAME COMMAND...: run it, show its output, keep its last line and its time for the summary
stage() {
    local name=$1 start=$SECONDS status
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/stage"
    status=${PIPESTATUS[0]}
    if [ "$status" = 5 ] && [ "$selected" = 1 ]; then status=0; fi  # the options select no test here
    [ "$status" = 0 ] || failed=1
    printf '%-16s %4d s  status %-3d  %s\n' "$name" $((SECONDS - start)) "$status" \
        "$(grep -E '[0-9]+ (passed|failed|error)|no tests ran' "$logs/stage" | tail -n 1)" >>"$logs/summary"
}

# The ranks share the cores as they like: Open MPI 4, 5
export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none

# under_mpi RANKS [options of pytest]: only rank 0 writes here, the others into files shown if a rank has failed
# shellcheck disable=SC2317  # called through stage
under_mpi() {
    rm -f "$logs"/rank*
    # shellcheck disable=SC2016
    timeout --kill-after=20 600 mpirun -n "$1" bash -c '
        rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}
        [ "$rank" = 0 ] || exec >"$logs/rank$rank" 2>&1
        exec python -m pytest -p no:cacheprovider tests/mpi "$@"' -- "${@:2}"
    local status=$?
    [ "$status" = 0 ] || tail -n 60 "$logs"/rank* 2>/dev/null
    return "$status"
}

# shellcheck disable=SC2317  # called through stage
lint() {
    ruff check hpcsim tests jobs && ruff format --check hpcsim tests jobs && mypy
}

# Lines of hpcsim that ran in this process: neither compiled kernels nor other processes are seen. Python 3.12
# and later count them by sys.monitoring, at next to no cost; for earlier ones coverage has a tracer in C.
coverage=()
if [ "$selected" = 0 ] && [ "${HPCSIM_COVERAGE:-1}" != 0 ] && python -c 'import pytest_cov' 2>/dev/null; then
    coverage=(--cov=hpcsim --cov-report=)
    python -c 'import sys; sys.exit(sys.version_info < (3, 12))' && export COVERAGE_CORE=sysmon
fi

if [ "$selected" = 0 ] && python -c 'import ruff, mypy' 2>/dev/null; then stage "lint" lint; fi
processes=()
if python -c 'import xdist' 2>/dev/null; then
    cores=$(env -u OMP_NUM_THREADS nproc)  # which takes the variable for the answer
    processes=(-n "${HPCSIM_TEST_PROCESSES:-$cores}" --dist worksteal)
fi
stage "serial" python -m pytest tests "${processes[@]}" "${coverage[@]}" "$@"
for n in ${HPCSIM_TEST_RANKS:-1 2 3}; do
    stage "mpirun -n $n" under_mpi "$n" "$@"
done

printf '\n== summary, %d s in all\n' "$SECONDS"
cat "$logs/summary"
if [ ${#coverage[@]} -gt 0 ]; then
    echo "coverage: $(python -m coverage report 2>/dev/null | tail -n 1 | grep -oE '[0-9]+%' || echo unknown) of the \
lines, in the serial tests (not seen: compiled kernels, and what runs in other processes)"
fi
passed=$(grep -oE '[0-9]+ passed' "$logs/summary" | awk '{n += $1} END {print n + 0}')
if [ $failed = 0 ]; then echo "all passed: $passed passed"; else echo "FAILED: see above; $passed passed"; fi
exit $failed
