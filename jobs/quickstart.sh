#!/bin/bash
# Install what is missing, then compute and draw two figures with the configs' quick sections:
# the Liouvillian gap of the gain/loss dimer (exact) and the 50-cell gain/loss chain (trajectories).
#
#   bash jobs/quickstart.sh [folder of the results, default results/quickstart]
#
# The same line again goes on where it was stopped. Exit status 1: a check of a figure has failed.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
bash jobs/setup.sh
. jobs/env/activate.sh

out=${1:-results/quickstart}
mkdir -p "$out"
ranks=$(env -u OMP_NUM_THREADS nproc)  # with it, nproc would count threads
[ "$ranks" -lt 2 ] || ranks=2
failed=()
figures=()

for config in configs/huber2020/fig2c.yaml configs/huber2020/fig5ab.yaml; do
    name=$(basename "$config" .yaml)
    printf '\n== %s: hpcsim run under mpirun -n %s\n' "$config" "$ranks"
    mpirun -n "$ranks" hpcsim run "$config" --quick --out "$out/$name.h5"
    hpcsim collect "$out/$name-collected.h5" "$out/$name.h5"
    hpcsim plot "$out/$name-collected.h5" | tee "$out/$name.txt" || failed+=("$name")
    mapfile -t -O "${#figures[@]}" figures < <(grep '\.png$' "$out/$name.txt")
done

printf '\n== %s s; figures:\n' "$SECONDS"
printf '%s\n' "${figures[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    echo "checks failed: ${failed[*]}"
    exit 1
fi
