#!/bin/bash
# The manual as a folder of HTML: the pages beside this script, the notebooks as they run, a reference from docstrings, and the
# claims of the papers from the configs.
#
#   bash jobs/docs/build.sh [folder, default results/manual]
#
# By Sphinx: it has a table of contents and a search that works from the disk, checks every link, and lets formulas be MathML, so
# that the manual needs no network. pdoc renders docstrings as Markdown, and ours are set as plain text. Where Sphinx is
# missing, pip installs the extra `docs` of pyproject.toml into a folder of its own, and .venv stays as it is.
set -euo pipefail
[ $# -le 1 ] || { echo "build.sh: usage: bash jobs/docs/build.sh [folder]" >&2; exit 2; }
out=$(realpath -m -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/../../results/manual}")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
. jobs/env/activate.sh
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

if ! python -c "import myst_parser, sphinx" 2>/dev/null; then
    tools=$PWD/build/docs
    if [ ! -d "$tools/sphinx" ]; then
        mapfile -t wanted < <(python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'], sep='\n')")
        python -m pip install --quiet --no-warn-conflicts --target "$tools" "${wanted[@]}"
    fi
    PYTHONPATH=$PYTHONPATH:$tools
fi

# Sphinx reads a copy, where generated pages stand beside those that are written; the pages name files of the checkout by ../../
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
source=$work/jobs/docs
mkdir -p "$source"
cp jobs/docs/*.md jobs/docs/conf.py jobs/docs/manual.css "$source"
ln -s "$PWD/README.md" "$PWD/configs" "$work"
python jobs/docs/reference.py "$source"
python jobs/docs/claims.py > "$source/claims.md"
for notebook in jobs/docs/*.ipynb; do
    python jobs/docs/notebook.py "$notebook" "$source"
done
python -m sphinx -W --keep-going -q -b html "$source" "$out"
echo "$out/index.html"
