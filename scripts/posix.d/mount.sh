# The store that scripts/posix makes for itself. Sourced; uses $STORE and $MNT.

# As root other users are let in, whom some judges become.
mount_store() { # [OPTION...]
    [ "$(id -u)" -ne 0 ] || set -- --allow-other "$@"
    caskfs mount "$@" "$STORE" "$MNT"
    chmod 755 "$MNT"
}

daemon() { caskfs info "$STORE" --json | sed -n 's/.*"daemon_pid":\([0-9]*\).*/\1/p'; }

# The daemon dies without a word, and the next one takes its mount over.
crash_store() { # [OPTION...]
    local pid
    pid=$(daemon)
    kill -KILL "$pid"
    # Of a process that has ended, but that nobody asks about, the name stays.
    while [ -n "$(tr -d '\0' 2>/dev/null <"/proc/$pid/cmdline")" ]; do sleep 0.02; done
    mount_store "$@"
}

remount_store() { # [OPTION...]
    caskfs umount "$MNT"
    mount_store "$@"
}

end_store() {
    local pid
    if findmnt -n -t fuse.caskfs -M "$MNT" >/dev/null; then
        pid=$(daemon 2>/dev/null || true)
        caskfs umount "$MNT" || {
            caskfs umount --lazy "$MNT" || true
            [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
        }
    fi
    rmdir "$MNT"
}
