"""The iteration at which a snapshot of Caffe's solver was taken: ``X_iter_N.solverstate``."""

from __future__ import annotations

from sjft.errors import InputError

_ITER_TAG = 0x08  # field 1, SolverState's `iter`, as a varint; protobuf writes it first
_LONGEST_VARINT = 10


def read_iteration(path: str) -> int:
    """Return the iteration that the solver state in the file `path` was taken after.

    A name that ends in .h5 is read as HDF5, as Caffe does, and needs the package h5py. Raises
    InputError if the file cannot be read or is no solver state.
    """
    return _from_hdf5(path) if path.endswith(".h5") else _from_protobuf(path)


def _from_protobuf(path: str) -> int:
    try:
        with open(path, "rb") as stream:
            start = stream.read(1 + _LONGEST_VARINT)
    except OSError as error:
        raise InputError(
            f"the solver state {path} cannot be read ({error.strerror}): expected a .solverstate "
            f"file that Caffe wrote"
        ) from None
    iteration = 0
    if start[:1] == bytes([_ITER_TAG]):
        for i, byte in enumerate(start[1:]):
            iteration |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return iteration
    raise InputError(f"{path} is not a solver state: expected a .solverstate file that Caffe wrote")


def _from_hdf5(path: str) -> int:
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"the iteration of {path} cannot be read without the Python package h5py: install it, "
            f"or take snapshots with snapshot_format: BINARYPROTO"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            return int(file["iter"][()])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as a solver state ({error}): expected a .solverstate.h5 file "
            f"that Caffe wrote"
        ) from None
