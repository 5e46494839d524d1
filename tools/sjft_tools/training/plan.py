"""What is to be trained, and from where: decided, and all bad input refused, before it starts."""

from __future__ import annotations

import argparse
import shlex
from typing import Any, NamedTuple

from sjft.errors import InputError
from sjft.solver_state import HDF5_SIGNATURE
from sjft_tools.checks.solver import layer_types, snapshots
from sjft_tools.pycaffe import import_caffe
from sjft_tools.solver_files import read_message, snapshot_prefix, solver_nets
from sjft_tools.training.snapshot_files import IncompleteError, read_model, read_state
from sjft_tools.training.snapshots import STATE, SnapshotFile, snapshot_files


class Plan(NamedTuple):
    """A run.

    `solver` is the SolverParameter in the file `path`; `prefix` its snapshot_prefix as Caffe
    completes it; `gpus` are empty for the CPU. The run starts from the first complete one of the
    solver states `snapshots`, which must be so if `must_resume`, else from the files `weights`. It
    removes the files `superseded`. `goes_on`: an earlier log is continued; `resumption`: the
    command that goes on with this run.
    """

    path: str
    solver: Any
    prefix: str
    gpus: list[int]
    weights: list[str]
    snapshots: list[str]
    must_resume: bool
    superseded: list[str]
    goes_on: bool
    resumption: str

    @property
    def log(self) -> str:
        """The file of Caffe's log."""
        return f"{self.prefix}_train.log"

    @property
    def csv(self) -> str:
        """The file of the values that Caffe displays."""
        return f"{self.prefix}_train.csv"


def make_plan(args: argparse.Namespace) -> Plan:
    """Return what the command's arguments ask for. Raises InputError."""
    caffe = import_caffe()
    from caffe.proto import caffe_pb2

    if not hasattr(caffe.SGDSolver, "add_callback") or not hasattr(caffe.Net, "before_forward"):
        raise InputError(
            "this Caffe's Python interface has no callbacks, which came with BVLC's Caffe 1.0: "
            "expected Solver.add_callback and Net.before_forward; use 'caffe train'"
        )
    solver = read_message(args.solver, caffe_pb2.SolverParameter())
    _check_folder(solver, args.solver)
    nets = solver_nets(solver, args.solver, caffe_pb2.NetParameter)
    layer_types(nets, list(caffe.layer_type_list()))
    check_format(solver, args.solver)
    _check_numbers(solver, args.solver)
    prefix = snapshot_prefix(solver, args.solver)
    weights = _weights(solver, args)
    for path in weights:
        _check_weights(path)
    existing = snapshot_files(prefix)
    return Plan(
        path=args.solver,
        solver=solver,
        prefix=prefix,
        gpus=_gpus(caffe, solver, args.gpu),
        weights=weights,
        snapshots=_starts(existing, args),
        must_resume=args.snapshot is not None,
        superseded=_superseded(existing, prefix, args),
        goes_on=args.resume or args.snapshot is not None,
        resumption=_resumption(args),
    )


def working_solver(plan: Plan, working_prefix: str) -> Any:
    """Return the solver that takes no snapshots by itself, and writes under `working_prefix`."""
    solver = type(plan.solver)()
    solver.CopyFrom(plan.solver)
    solver.snapshot = 0
    solver.snapshot_after_train = False
    solver.snapshot_prefix = working_prefix
    if "weights" in solver.DESCRIPTOR.fields_by_name:
        solver.ClearField("weights")
    return solver


def check_format(solver: Any, path: str) -> None:
    """Raise InputError if the solver in the file `path` wants snapshots that are not taken here."""
    if solver.snapshot_format != type(solver).BINARYPROTO:
        raise InputError(
            f"{path} has snapshot_format: HDF5, of which sjft train cannot tell whether it is "
            f"complete: expected BINARYPROTO; or use 'caffe train'"
        )


def _check_numbers(solver: Any, path: str) -> None:
    """Refuse what Caffe takes, and then trains nothing or divides by zero."""
    if not solver.HasField("base_lr"):
        raise InputError(f"{path} has no base_lr, without which nothing is learned: expected one")
    if not solver.HasField("max_iter"):
        raise InputError(f"{path} has no max_iter: expected the number of iterations")
    for field, values in (
        ("max_iter", [solver.max_iter]),
        ("iter_size", [solver.iter_size]),
        ("test_iter", solver.test_iter),
    ):
        for value in values:
            if value < 1:
                raise InputError(f"{path} has {field}: {value}, expected at least 1")


def _check_folder(solver: Any, path: str) -> None:
    """Check the folder of the snapshots, in which the log lies even if there are none."""
    with_snapshots = type(solver)()
    with_snapshots.CopyFrom(solver)
    with_snapshots.snapshot_after_train = True
    snapshots(with_snapshots, path)


def _gpus(caffe: Any, solver: Any, gpus: list[int] | None) -> list[int]:
    """Return the GPUs that were named; without, as 'caffe train' decides."""
    if gpus is None:
        on_gpu = solver.HasField("solver_mode") and solver.solver_mode
        return [solver.device_id] if on_gpu else []
    check_gpus(caffe, len(gpus))
    return gpus


def check_gpus(caffe: Any, count: int) -> None:
    """Raise InputError if this Caffe cannot train on so many GPUs."""
    if count > 1 and not (hasattr(caffe, "has_nccl") and caffe.has_nccl()):
        raise InputError(
            f"--gpu names {count} GPUs, but this Caffe was built without NCCL: name one GPU, or "
            f"build Caffe with USE_NCCL"
        )


def _weights(solver: Any, args: argparse.Namespace) -> list[str]:
    """Return the files of weights to start from: those given, else those that the solver names."""
    if args.weights is not None and args.snapshot is not None:
        raise InputError("--weights and --snapshot exclude each other: a snapshot has its weights")
    given = [args.weights] if args.weights is not None else list(getattr(solver, "weights", []))
    if args.snapshot is not None:
        return []
    paths = [path.strip() for paths in given for path in paths.split(",")]
    if "" in paths:
        raise InputError(f"the weights {given[0]!r} name no file between their commas")
    return paths


def _check_weights(path: str) -> None:
    """Refuse weights that are missing or cut short. Of HDF5 only the start is looked at."""
    try:
        if path.endswith(".h5"):
            with open(path, "rb") as file:
                if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:
                    raise IncompleteError(f"{path} is not an HDF5 file")
        elif not any(sizes for _, sizes in read_model(path).layers):
            raise IncompleteError(f"{path} has layers, but none with weights")
    except OSError as error:
        raise InputError(f"the weights {path} cannot be read ({error.strerror})") from None
    except IncompleteError as error:
        raise InputError(f"the weights {error}: expected a complete .caffemodel") from None


def _starts(existing: list[SnapshotFile], args: argparse.Namespace) -> list[str]:
    """Return the solver states that the run may go on from, the best first."""
    if args.snapshot is not None:
        return [args.snapshot]
    if not args.resume:
        return []
    states = [file for file in existing if file.is_state]
    newest = next((file for file in existing if file.path.endswith(f"{STATE}.h5")), None)
    if newest is not None and (not states or newest.iteration > states[0].iteration):
        raise InputError(
            f"the newest snapshot, {newest.path}, is an HDF5 file, from which sjft train cannot go "
            f"on: use 'caffe train -snapshot', or move the .h5 files away"
        )
    return [file.path for file in states]


def _superseded(existing: list[SnapshotFile], prefix: str, args: argparse.Namespace) -> list[str]:
    """Return the files that would pass for this run's. Raises InputError unless --force is given.

    After --snapshot they are those of later iterations: the next --resume would take the newest.
    """
    if args.resume:
        if args.force:
            raise InputError("--resume and --force exclude each other: go on, or start anew")
        return []
    in_the_way, remedy = existing, "give --resume to go on from the newest"
    if args.snapshot is not None:
        iteration = _iteration(args.snapshot)
        in_the_way = [file for file in existing if file.iteration > iteration]
        remedy = f"they are later than {args.snapshot}; give --resume to go on from the newest"
    if in_the_way and not args.force:
        more = f" and {len(in_the_way) - 1} more" if len(in_the_way) > 1 else ""
        raise InputError(
            f"there are snapshots of the snapshot_prefix {prefix!r} ({in_the_way[0].path}{more}): "
            f"{remedy}, --force to remove them, or change snapshot_prefix"
        )
    return [file.path for file in in_the_way]


def _iteration(path: str) -> int:
    if path.endswith(".h5"):
        raise InputError(f"the snapshot {path} is an HDF5 file: use 'caffe train -snapshot'")
    try:
        return read_state(path).iteration
    except IncompleteError as error:
        raise InputError(f"the snapshot {error}: expected a complete .solverstate") from None


def _resumption(args: argparse.Namespace) -> str:
    words = ["sjft", "train", args.solver, "--resume"]
    if args.weights is not None:
        words += ["--weights", args.weights]
    if args.gpu is not None:
        words += ["--gpu", ",".join(map(str, args.gpu))]
    return shlex.join(words)
