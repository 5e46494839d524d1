"""The iteration at which a snapshot of Caffe's solver was taken: ``X_iter_N.solverstate``."""

from __future__ import annotations

import os
import re

from sjft.errors import InputError

_ITER_TAG = 0x08  # field 1, SolverState's `iter`, as a varint; protobuf writes it first
_LONGEST_VARINT = 10

#: How every HDF5 file begins, whatever it holds.
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HDF5_NAME = re.compile(r"_iter_(\d{1,10})\.solverstate\.h5\Z", re.ASCII)


def read_iteration(path: str) -> int:
    """Return the iteration that the solver state in the file `path` was taken after.

    A file whose name ends in .h5 is HDF5, as it is to Caffe. Its iteration is taken from its name,
    which Caffe always ends in ``_iter_N.solverstate.h5``: a second HDF5 library beside Caffe's own
    in one process fails where their versions differ. Raises InputError if the file cannot be read,
    is no solver state, or is an HDF5 one of another name.
    """
    is_hdf5 = path.endswith(".h5")
    try:
        with open(path, "rb") as stream:
            start = stream.read(1 + _LONGEST_VARINT)
    except OSError as error:
        raise InputError(
            f"the solver state {path} cannot be read ({error.strerror}): expected a .solverstate "
            f"file that Caffe wrote"
        ) from None
    iteration = _from_name(path) if is_hdf5 else _from_protobuf(start)
    if iteration is None or (is_hdf5 and not start.startswith(HDF5_SIGNATURE)):
        raise InputError(
            f"{path} is not a solver state: expected a .solverstate file that Caffe wrote"
        )
    return iteration


def _from_name(path: str) -> int:
    """Return the N of ``..._iter_N.solverstate.h5``."""
    found = _HDF5_NAME.search(os.path.basename(path))
    if found is None:
        raise InputError(
            f"the name of {path} does not tell its iteration: expected ..._iter_N.solverstate.h5, "
            f"as Caffe named it"
        )
    return int(found[1])


def _from_protobuf(start: bytes) -> int | None:
    """Return the first field of a SolverState whose first bytes are `start`."""
    iteration = 0
    if start[:1] == bytes([_ITER_TAG]):
        for i, byte in enumerate(start[1:]):
            iteration |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return iteration
    return None
