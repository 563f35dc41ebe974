#!/usr/bin/env bash
# Prints the path of a Python 3.12 or 3.13 that really starts and can make virtual environments.
# Looks at $PYTHON, the PATH, pyenv's versions, and last asks uv to fetch one. Says what to do when there is none.
set -u

works() {
    "$1" -c 'import sys, venv, ensurepip, ctypes, sqlite3; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1
}

candidates() {
    [ -n "${PYTHON:-}" ] && echo "$PYTHON"
    for name in python3.12 python3.13 python3 python; do
        command -v "$name"
    done
    for version in 3.12 3.13; do
        ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version"*/bin/python 2>/dev/null
    done
}

while read -r candidate; do
    if works "$candidate"; then
        echo "$candidate"
        exit 0
    fi
done < <(candidates)

uv=$(command -v uv)
if [ -z "$uv" ] && python3 -m venv .uv >/dev/null 2>&1 && .uv/bin/pip install --quiet uv >&2; then
    uv=.uv/bin/uv
fi
if [ -n "$uv" ] && "$uv" python install --quiet 3.12 >&2; then
    "$uv" python find 3.12
    exit 0
fi
echo "no Python 3.12 or 3.13 found on the PATH or under pyenv, and uv could not fetch one:" \
    "install one (for example \`pyenv install 3.12\`, or the package python3.12-venv) and run make again" >&2
exit 1
