"""Checks of a solver: it and its nets parse, Caffe knows their layers, snapshots can be written."""

from __future__ import annotations

import os
import sys
from typing import Any

from sjft.errors import did_you_mean
from sjft_tools.caffe_process import reason, run_process
from sjft_tools.checks.classifiers import check_classifiers, check_losses
from sjft_tools.checks.data_bases import DataBases
from sjft_tools.checks.data_layers import check_data_layers
from sjft_tools.checks.report import CheckFailed, Report
from sjft_tools.pycaffe import caffe_messages, import_caffe
from sjft_tools.solver_files import SolverNet, read_message, snapshot_prefix, solver_nets

_BUILD = """
import sys, caffe
if len(sys.argv) > 2:
    caffe.set_device(int(sys.argv[2]))
    caffe.set_mode_gpu()
try:
    caffe.get_solver(sys.argv[1])
except SystemError as error:  # Caffe prints what making a layer raised, and loses it
    raise getattr(sys, "last_value", error)
"""


def check_solver(report: Report, path: str) -> None:
    """Make all checks of the solver `path`, its nets and their data."""
    caffe, messages = import_caffe(), caffe_messages()

    def parse_solver() -> tuple[Any, str]:
        return read_message(path, messages.SolverParameter()), path

    def parse_nets() -> tuple[list[SolverNet], str]:
        nets = solver_nets(solver, path, messages.NetParameter)
        return nets, ", ".join(f"{net.name} has {len(net.layers)} layers" for net in nets)

    solver = report.check("solver", parse_solver, "")
    if solver is None:
        report.skip("nets", "needs the solver")
        return
    report.check("snapshots", lambda: snapshots(solver, path), "")
    nets = report.check("nets", parse_nets, "")
    if nets is None:
        report.skip("data", "needs the nets")
        return
    types = list(caffe.layer_type_list())
    report.check("layer types", lambda: layer_types(nets, types), "")
    bases = DataBases(report, path)
    for net in nets:
        labels = check_data_layers(report, net, bases)
        check_classifiers(report, net, labels)
        if net.train:
            check_losses(report, net)
    bases.check_target_classes()
    if report.failures:
        report.skip("Caffe builds the solver", "needs all checks above")
    else:
        report.check("Caffe builds the solver", lambda: builds(solver, path), "")


def builds(solver: Any, path: str) -> tuple[None, str]:
    """Caffe makes the solver and its nets, in a process of its own, as for training."""
    # as caffe train decides when it is given no -gpu
    gpu = [str(solver.device_id)] if solver.HasField("solver_mode") and solver.solver_mode else []
    status, output = run_process([sys.executable, "-c", _BUILD, path, *gpu])
    if status != 0:
        raise CheckFailed(
            f"it stops: {reason(status, output)}",
            "set solver_mode: CPU, or use a Caffe that was built with CUDA"
            if "CPU-only" in output
            else f"correct the net; 'caffe train -solver {path}' shows the whole log",
        )
    return None, f"with all its nets, on {'GPU ' + gpu[0] if gpu else 'the CPU'}"


def snapshots(solver: Any, path: str) -> tuple[None, str]:
    """The folder of the snapshots exists and can be written to, as Caffe checks at start."""
    if not solver.snapshot and not solver.snapshot_after_train:
        return None, "none are written"
    prefix = snapshot_prefix(solver, path)
    folder = os.path.dirname(prefix) or "."
    if not os.path.isdir(folder):
        raise CheckFailed(
            f"the folder {folder} of snapshot_prefix {prefix!r} does not exist",
            f"mkdir -p {folder}",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CheckFailed(
            f"the folder {folder} of snapshot_prefix {prefix!r} cannot be written to",
            "give yourself leave to write there, or set snapshot_prefix to another folder",
        )
    return None, f"{prefix}_iter_N.caffemodel"


def layer_types(nets: list[SolverNet], known: list[str]) -> tuple[None, str]:
    """Caffe knows the type of every layer."""
    used = {layer.type: layer.name for net in nets for layer in net.layers}
    for kind, name in used.items():
        if kind not in known:
            raise CheckFailed(
                f"layer '{name}' is of type '{kind}', which this Caffe does not "
                f"know{did_you_mean(kind, known)}",
                "correct the type, or use a Caffe that was built with it",
            )
    return None, f"{len(used)} types, all known to this Caffe"
