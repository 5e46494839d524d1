"""The grafted nets: the original's trunk between our data layers and the two tasks' heads.

A head is the original's classifier with another number of outputs, and whatever stands between it
and its loss, once for the target and once for the source: layers and blobs of the original's names
with `_target` and `_source` behind them. All other layers keep their names, so that the original's
published weights load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sjft.errors import InputError
from sjft_tools.evaluation.options import mean_options, size_options
from sjft_tools.grafting.heads import Head
from sjft_tools.grafting.images import Images, is_source
from sjft_tools.grafting.original import Layer, Original
from sjft_tools.nets import layers as L
from sjft_tools.nets.joint import Task, joint_data, joint_loss, target_data, target_test_layers
from sjft_tools.nets.text import Item, Message, net_text

COMMAND = "sjft graft"
TARGET, SOURCE = "_target", "_source"


@dataclass(frozen=True)
class Graft:
    """What all nets are made from; the last of `heads` is the main one, the others only train."""

    net: Original
    heads: list[Head]
    images: Images
    task: Task
    frozen: bool  # whether BatchNorm keeps its stored statistics in TRAIN


def needed_blobs(net: Original, heads: list[Head], phase: str) -> set[str]:
    """All blobs on which the heads' classifiers depend in `phase`."""
    needed = {head.bottom for head in heads}
    for layer in reversed(net.layers):
        if phase in layer.phases and needed.intersection(layer.tops):
            needed.update(layer.bottoms)
    return needed


def joint_net(graft: Graft) -> str:
    """The joint net: both tasks in TRAIN, the target's accuracy in TEST."""
    tails: list[Item] = ["The two tasks part here."]
    sliced: set[str] = set()
    for head in graft.heads:
        train_only = head is not graft.heads[-1]
        features = [head.bottom + TARGET, head.bottom + SOURCE]
        if head.bottom not in sliced:
            sliced.add(head.bottom)
            name = f"slice_{head.bottom}"
            tails.append(L.only_in("TRAIN", L.slice_batch(name, head.bottom, features)))
            if not train_only:
                tails.append(L.only_in("TEST", L.slice_batch(name, head.bottom, features[:1])))
        target = head_layers(head, TARGET, features[0], graft.task.target_classes)
        source = head_layers(head, SOURCE, features[1], graft.task.source_classes)
        tails += in_train(target) if train_only else target
        tails += in_train(source)
        tails.append(L.only_in("TRAIN", loss_of(head, main=not train_only)))
    scores = graft.heads[-1].scores + TARGET
    tails += target_test_layers(scores, graft.task.target_classes)
    tails.append(L.only_in("TEST", L.softmax_loss("target_loss", scores, "target_label")))
    data = [joint_data(graft.task), target_data("TEST", graft.task)]
    return _text(
        graft,
        "joint",
        f"Selective joint fine-tuning: {graft.task.target_classes} target and "
        f"{graft.task.source_classes} source classes.",
        data,
        trunk(graft, ("TRAIN", "TEST")),
        tails,
    )


def target_only_net(graft: Graft) -> str:
    """The baseline: the same net on the target alone."""
    tails: list[Item] = ["One task."]
    for head in graft.heads:
        layers = head_layers(head, TARGET, head.bottom, graft.task.target_classes)
        main = head is graft.heads[-1]
        loss = L.softmax_loss(
            "target_loss" if main else f"{head.loss}{TARGET}", head.scores + TARGET, "target_label"
        )
        if head.weight != 1:
            loss["loss_weight"] = head.weight
        tails += [*layers, loss] if main else in_train([*layers, loss])
    tails += target_test_layers(graft.heads[-1].scores + TARGET, graft.task.target_classes)
    data = [target_data("TRAIN", graft.task), target_data("TEST", graft.task)]
    return _text(
        graft,
        "target_only",
        f"The baseline on the target alone: {graft.task.target_classes} classes.",
        data,
        trunk(graft, ("TRAIN", "TEST")),
        tails,
    )


def deploy_net(graft: Graft, both: bool) -> str:
    """The net for images of crop x crop: `prob`, or with `both` `prob_target`, `prob_source`."""
    head, task = graft.heads[-1], graft.task
    classes = {TARGET: task.target_classes, SOURCE: task.source_classes}
    data = L.input_layer(graft.images.blob, (1, 3, task.crop, task.crop))
    tails: list[Message] = []
    for suffix in (TARGET, SOURCE) if both else (TARGET,):
        tails += head_layers(head, suffix, head.bottom, classes[suffix])
        tails.append(L.softmax(f"prob{suffix}" if both else "prob", head.scores + suffix))
    header = "With both classifiers." if both else "With the target's classifier."
    options = scoring_options(task)
    if options:
        header += (
            "\nTo show it images as the train_val net's TEST phase does, `sjft evaluate` and\n"
            f"`sjft harden` need {options}"
        )
    return _text(
        graft,
        "deploy_both" if both else "deploy",
        header,
        [data],
        [L.without_training(layer) for layer in trunk(graft, ("TEST",))],
        [L.without_training(layer) for layer in tails],
    )


def scoring_options(task: Task) -> str:
    """What `sjft evaluate` and `sjft harden` need to show images as TEST does; "" for nothing."""
    resize, shorter = (task.test_resize.get(key) for key in ("resize", "resize_shorter"))
    return " ".join([*size_options(resize, shorter, task.crop), *mean_options(task.mean)])


def trunk(graft: Graft, phases: tuple[str, ...]) -> list[Message]:
    """The layers up to the classifiers, in the given phases, with phase rules if there are two."""
    heads = {"TRAIN": graft.heads, "TEST": graft.heads[-1:]}
    needed = {phase: needed_blobs(graft.net, heads[phase], phase) for phase in phases}
    result: list[Message] = []
    for layer in graft.net.layers:
        stands = [p for p in phases if p in layer.phases and needed[p].intersection(layer.tops)]
        if is_source(layer) or not stands:
            continue
        fields = with_statistics(layer, graft.frozen)
        result.append(fields if stands == list(phases) else L.only_in(stands[0], fields))
    return result


def with_statistics(layer: Layer, frozen: bool) -> Message:
    """The layer's fields; of a BatchNorm with the statistics that it shall use.

    Stored ones in TRAIN too if `frozen`. Where the original uses a batch's own in TEST as well, by
    `use_global_stats: false`, an image's scores would depend on the others beside it: it is left
    out, and the phase decides.
    """
    if layer.type != "BatchNorm":
        return dict(layer.fields)
    params = dict(layer.fields.get("batch_norm_param", {}))
    if frozen:
        params["use_global_stats"] = True
    elif uses_own_statistics(layer):
        del params["use_global_stats"]
    return {**layer.fields, "batch_norm_param": params}


def uses_own_statistics(layer: Layer) -> bool:
    """Whether a BatchNorm uses a batch's own statistics in every phase."""
    return layer.fields.get("batch_norm_param", {}).get("use_global_stats") is False


def head_layers(head: Head, suffix: str, bottom: str, classes: int) -> list[Message]:
    """The classifier with `classes` outputs on blob `bottom`, and what stands before its loss."""
    kind = "inner_product_param" if head.classifier.type == "InnerProduct" else "convolution_param"
    param = {**head.classifier.fields[kind], "num_output": classes}
    if param.get("weight_filler", {}).get("type", "constant") == "constant":
        param["weight_filler"] = {"type": "gaussian", "std": 0.01}
    fields = {**head.classifier.fields, kind: param}
    if "param" not in fields:
        rates = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]
        fields = {"name": None, "type": None, "bottom": None, "top": None, "param": rates, **fields}
    renamed = {head.bottom: bottom}
    result = []
    for layer in (fields, *(dict(layer.fields) for layer in head.between)):
        bottoms = [renamed.get(blob, blob + suffix) for blob in layer["bottom"]]
        renamed = {}
        result.append(
            {
                **layer,
                "name": layer["name"] + suffix,
                "bottom": bottoms,
                "top": [blob + suffix for blob in layer["top"]],
                **unshared(layer),
            }
        )
    return result


def unshared(layer: Message) -> Message:
    """The layer's `param`, without names by which weights would be shared."""
    if "param" not in layer:
        return {}
    shared = ("name", "share_mode")
    return {
        "param": [{k: v for k, v in param.items() if k not in shared} for param in layer["param"]]
    }


def loss_of(head: Head, main: bool) -> Message:
    """The joint loss of a head, with the original's weight; only the main one's have our names."""
    names = ["loss", "target_loss", "source_loss"]
    if not main:
        names = [head.loss, f"{head.loss}{TARGET}", f"{head.loss}{SOURCE}"]
    loss = joint_loss()
    bottoms = [head.scores + TARGET, "target_label", head.scores + SOURCE, "source_label"]
    weights = [head.weight, 0, 0]
    return {**loss, "name": names[0], "bottom": bottoms, "top": names, "loss_weight": weights}


def in_train(layers: Iterable[Message]) -> list[Message]:
    """The layers, in TRAIN only."""
    return [L.only_in("TRAIN", layer) for layer in layers]


def refuse_clashes(graft: Graft, original: list[Message], ours: list[Item]) -> None:
    """Raise InputError if one of the `original` layers or its blobs has a name that `ours` need."""
    added = [item for item in ours if not isinstance(item, str)]
    taken = {
        "layer": {layer["name"] for layer in original} & {layer["name"] for layer in added},
        "blob": _tops(original) & _tops(added) - {graft.images.blob},
    }
    for what, names in taken.items():
        if names:
            raise InputError(
                f"{graft.net.path} has a {what} '{min(names)}' before its classifier, and in the "
                f"grafted net a {what} of the graft is called so: expected another name for it"
            )


def _tops(layers: list[Message]) -> set[str]:
    return {top for layer in layers for top in layer.get("top", ())}


def _text(
    graft: Graft,
    kind: str,
    header: str,
    data: list[Message],
    original: list[Message],
    tails: list[Any],
) -> str:
    """The net's text; our data layers write the blob that the original's images have."""
    blob = graft.images.blob
    if graft.images.factor != 1:
        data = [*data, L.fixed_scale(f"{blob}_scale", blob, graft.images.factor)]
    refuse_clashes(graft, original, [*data, *tails])
    items = [*data, *original, *tails]
    renamed = [
        {**item, "top": [blob, *item["top"][1:]]}
        if not isinstance(item, str)
        and item.get("python_param", {}).get("layer", "").endswith("DataLayer")
        else item
        for item in items
    ]
    title = f"{graft.net.name}, grafted. {header}"
    return net_text(f"{graft.net.name}_{kind}", title, renamed, COMMAND)
