"""The files of a graft, nets and solvers, and whether Caffe can build them."""

from __future__ import annotations

from google.protobuf import text_format

from sjft.errors import InputError
from sjft_tools.caffemodel import times
from sjft_tools.grafting.heads import LOSS
from sjft_tools.grafting.nets import (
    COMMAND,
    Graft,
    deploy_net,
    joint_net,
    scoring_options,
    target_only_net,
    uses_own_statistics,
)
from sjft_tools.net_files import build
from sjft_tools.nets.solver import Run, solver_text
from sjft_tools.nets.target_set import Schedule
from sjft_tools.netscope.view import view
from sjft_tools.pycaffe import caffe_messages

SCHEDULE = Schedule(
    step=4000,
    max_iter=12000,
    origin="A start for published weights, which `sjft adapt` changes: no paper has these numbers.",
)
JOINT, BOTH = "joint_train_val.prototxt", "deploy_both.prototxt"


def net_texts(graft: Graft) -> dict[str, str]:
    """The nets: name below their folder -> text."""
    return {
        JOINT: joint_net(graft),
        "target_only_train_val.prototxt": target_only_net(graft),
        "deploy.prototxt": deploy_net(graft, both=False),
        BOTH: deploy_net(graft, both=True),
    }


def solver_texts(graft: Graft, schedule: Schedule, folder: str, test_images: int) -> dict[str, str]:
    """The solvers of the nets in `folder`, for so many test images: name -> text."""
    batches = {"joint": graft.task.batch_size, "target_only": graft.task.half}
    return {
        f"{kind}_solver.prototxt": _solver(graft, schedule, kind, batch_size, folder, test_images)
        for kind, batch_size in batches.items()
    }


def check_nets(graft: Graft, texts: dict[str, str]) -> None:
    """Have Caffe build the nets; InputError if it cannot, or if one gives maps of scores."""
    side = graft.task.crop
    what = f"the net grafted from {graft.net.path}, for images of {side} x {side}"
    shape = build(texts[BOTH], "TEST", what).shapes["prob_target"]
    if any(extent != 1 for extent in shape[2:]):
        raise InputError(
            f"{graft.net.path} gives {times(shape)} scores for an image of {side} x {side}: "
            f"expected one for each class"
        )
    if len(graft.heads) > 1:  # deploy nets have the main one alone
        net = text_format.Parse(texts[JOINT], caffe_messages().NetParameter())
        view(net, f"the joint net grafted from {graft.net.path}", "TRAIN", {})


def _solver(
    graft: Graft, schedule: Schedule, kind: str, batch_size: int, folder: str, test_images: int
) -> str:
    """The solver of joint or target_only training; snapshots go beside it."""
    run = Run(
        net=f"{folder}/{kind}_train_val.prototxt",
        snapshot_prefix=f"{folder}/{kind}",
        batch_size=batch_size,
        iter_size=schedule.iter_size,
        origin=schedule.origin,
        base_lr=0.001,
        weight_decay=0.0005,
        step=schedule.step,
        max_iter=schedule.max_iter,
        test_batch_size=graft.task.test_batch_size,
        test_images=test_images,
        test_interval=schedule.test_interval,
        snapshot=500,
        display=10,
        batch_statistics=False,
    )
    title = f"{graft.net.name}, grafted: {kind.replace('_', '-')} training."
    return solver_text(title, run, COMMAND)


def remarks(graft: Graft) -> list[str]:
    """What a user should know of the graft, one line each."""
    names = ", ".join(head.classifier.name for head in graft.heads)
    lines = [f"replaced {names}; images of {graft.task.crop} x {graft.task.crop}"]
    if len(graft.heads) > 1:
        lines.append("the last of them is the main classifier, the others serve training alone")
    lines += graft.images.remarks
    lines += [
        f"the loss_param of '{layer.name}' is left out: losses are means over all images"
        for layer in graft.net.layers
        if layer.type == LOSS and "TRAIN" in layer.phases and "loss_param" in layer.fields
    ]
    trunk = [layer for layer in graft.net.layers if layer.type in ("Convolution", "InnerProduct")]
    params = ("convolution_param", "inner_product_param")
    if not any("weight_filler" in layer.fields.get(key, {}) for layer in trunk for key in params):
        lines.append("NET has no weight fillers: train from its published weights, not from zero")
    normal = [layer for layer in graft.net.layers if layer.type == "BatchNorm"]
    if not graft.frozen and any(
        layer.fields.get("batch_norm_param", {}).get("use_global_stats") for layer in normal
    ):
        lines.append("NET's BatchNorm has use_global_stats: its statistics stay as they are")
    if not graft.frozen and any(map(uses_own_statistics, normal)):
        lines.append(
            "use_global_stats: false of NET's BatchNorm is left out: tests use stored statistics"
        )
    options = scoring_options(graft.task)
    if options:
        lines.append(f"'sjft evaluate' and 'sjft harden' need {options}")
    return lines
