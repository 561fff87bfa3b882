# What the judges have in common. Sourced by each of them, after it has set `judge` to its name.
#
# From scripts/posix they have: MNT, the directory to judge; STORE, the store behind it, empty if it is not known; SCRATCH,
# a plain directory; SOURCES, this repository; JUDGES, where the programs from cargo are; QUICK, true or false; RESULTS, the
# file that takes a line for each case: judge, result, case.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/mount.sh"
export LC_ALL=C.UTF-8 TZ=UTC

# A directory in the mount, and one outside, for this judge alone.
dir=$MNT/$judge plain=$SCRATCH/$judge
mkdir "$dir" "$plain"
failures=0

report() { # RESULT CASE
    printf '%s\t%s\t%s\n' "$judge" "$1" "$2" >>"$RESULTS"
    [ "$1" != FAILED ] || failures=$((failures + 1))
}

# Whether a case is excluded; its reason goes into $reason.
is_excluded() { # CASE
    reason=$(awk -v judge="$judge" -v name="$1" '$1 == judge && $2 == name { $1 = $2 = ""; sub(/^ +/, ""); print; exit }' "$here/excluded")
    [ -n "$reason" ]
}

# Runs a command as a case, and says how it went. What it writes to descriptor 3 is added to the line. A case name has no
# blank in it.
check() { # CASE COMMAND...
    local name=$1 start=$EPOCHREALTIME status note seconds
    shift
    if is_excluded "$name"; then
        printf 'excluded          %s: %s\n' "$name" "$reason"
        report excluded "$name"
        return
    fi
    set +e
    (set -euo pipefail; cd "$dir"; "$@") >"$plain.log" 2>&1 3>"$plain.note"
    status=$?
    set -e
    note=$(cat "$plain.note")
    seconds=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")
    if [ $status -eq 0 ]; then
        printf 'ok     %6s s  %s%s\n' "$seconds" "$name" "${note:+: $note}"
        report ok "$name"
    else
        printf 'FAILED %6s s  %s\n' "$seconds" "$name"
        tail -n 40 "$plain.log"
        report FAILED "$name"
    fi
}

# The last line of every judge.
finish() {
    cd /
    # The judges after this one need the room.
    rm -rf --one-file-system "$dir" "$plain"
    exit $((failures > 0))
}
