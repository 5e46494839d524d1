# Names shared by the scripts of this folder; sourced by them (bash).

DEBIAN11=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$DEBIAN11/../../tools/caffe/common.sh"

# Exit status of "cannot be done on this machine, and needs not be": the tests skip then.
CANNOT=77

# Before a command: it gets mounts and process ids of its own. They vanish with it, and it dies with the
# process that called it, even where that is killed by kill -9.
ISOLATED=(setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child)

cannot() {
    echo "$(basename "$0"): $*" >&2
    exit "$CANNOT"
}

# Ends the script where the machine gives no right to mount and to change the root folder.
require_rights() {
    local error
    [ "$(id -u)" -eq 0 ] || cannot "a Debian 11 root needs the user root, for debootstrap and chroot"
    error=$("${ISOLATED[@]}" sh -c 'mount -t proc proc /proc && chroot / true' 2>&1) ||
        cannot "a Debian 11 root needs the right to mount and to chroot (CAP_SYS_ADMIN," \
            "CAP_SYS_CHROOT), which is denied here: ${error##*$'\n'}"
}
