#!/usr/bin/env bash
# Usage: run.sh COMMAND...
# Runs a command inside the Debian 11 root, which root.sh builds where it is not there yet: in this checkout,
# with python_layers/ on PYTHONPATH. The command sees root and checkout read-only; what it writes to
# /tmp and /dev/shm, and every process it started, is gone when it ends or is killed. Without a command: a shell.
# Exits with the command's status, or 77 with one sentence where the machine does not allow it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# Runs as the first process of its own process and mount namespace.
INSIDE='
root=$1 checkout=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$checkout" "$root/checkout"
mount -o remount,bind,ro "$root"
mount -o remount,bind,ro "$root/checkout"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/dev/shm"
cd "$root"
pivot_root . mnt  # chroot would keep the command from making user namespaces
cd /checkout
umount --lazy /mnt
"$@"
exit
'

ROOT=$("$DEBIAN11/root.sh") || exit
[ $# -gt 0 ] || set -- bash
# OPENBLAS_*: what this machine needs for older OpenBLAS to compute rightly
mapfile -t KEPT < <(env | grep -E '^(OPENBLAS_[A-Z0-9_]*|OMP_NUM_THREADS|TERM)=')
exec env -i "${KEPT[@]}" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 \
    PYTHONPATH=/checkout/python_layers:/checkout/tools PYTHONDONTWRITEBYTECODE=1 \
    HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
    "${ISOLATED[@]}" \
    bash -euc "$INSIDE" bash "$ROOT" "$CHECKOUT" "$@"
