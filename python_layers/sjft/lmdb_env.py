"""Opening LMDBs for reading: once per process, never across a fork, never a truncated one."""

from __future__ import annotations

import os

import lmdb

from sjft.errors import InputError

# py-lmdb refuses to open one environment twice in a process (its locks would break), yet the TRAIN
# and TEST nets of one solver may name the same LMDB: they share the environment through this table.
_shared: dict[tuple[int, int], tuple[lmdb.Environment, int]] = {}
_owner = os.getpid()


def _forget_parent() -> None:
    """In a forked child, close what the parent had open, or py-lmdb would refuse to open it again.

    Without lock files this closes the child's own descriptors and mappings and nothing else.
    """
    global _owner
    if _owner != os.getpid():
        for env, _ in _shared.values():
            env.close()
        _shared.clear()
        _owner = os.getpid()


def _data_file(path: str) -> str:
    return os.path.join(path, "data.mdb")


def env_identity(folder: str) -> tuple[int, int]:
    """Return what tells the LMDB in `folder` from one that is put in its place."""
    status = os.stat(_data_file(folder))
    return status.st_dev, status.st_ino


def open_env(path: str, role: str, folder: str | None = None) -> lmdb.Environment:
    """Open the LMDB in the folder `path` read-only, without lock files, for this process.

    `role` ("source") and `path` name it in messages; `folder` is where it lies, if that is not
    `path` seen from the current folder. Give it back with close_env. Raises InputError if it is
    missing, is not an LMDB, or is truncated: reading past the end of a truncated file would end the
    process with SIGBUS.
    """
    folder = path if folder is None else folder
    data = _data_file(folder)
    try:
        status = os.stat(data)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no path of any file
        raise InputError(
            f"the {role} LMDB {path} does not exist: expected a folder with data.mdb"
        ) from None
    except OSError as error:  # no leave to look, or a file server that is away
        raise InputError(
            f"the {role} LMDB {path} cannot be opened ({error.strerror}): expected a folder with "
            f"data.mdb, within reach"
        ) from None
    _forget_parent()
    if not status.st_size:  # of which LMDB says "Bad file descriptor"
        raise InputError(f"the {role} LMDB {path} is truncated: data.mdb has 0 bytes")
    identity = env_identity(folder)
    if identity in _shared:
        env, users = _shared[identity]
        _shared[identity] = (env, users + 1)
        return env
    try:
        # lock=False: nothing here writes; read-only file systems and killed readers do no harm
        # as bytes: py-lmdb does not encode all paths as the system does
        env = lmdb.open(os.fsencode(folder), readonly=True, lock=False, readahead=False, max_dbs=0)
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    except lmdb.Error as error:
        raise InputError(f"the {role} LMDB {path} cannot be opened: {error}") from None
    if status.st_size < needed:
        env.close()
        raise InputError(
            f"the {role} LMDB {path} is truncated: data.mdb has {status.st_size} bytes, expected "
            f"{needed}"
        )
    _shared[identity] = (env, 1)
    return env


def close_env(env: lmdb.Environment) -> None:
    """Give back an environment of open_env; the last user of the process closes it."""
    for identity, (shared, users) in list(_shared.items()):
        if shared is env and _owner == os.getpid():
            if users > 1:
                _shared[identity] = (env, users - 1)
            else:
                del _shared[identity]
                env.close()
            return
