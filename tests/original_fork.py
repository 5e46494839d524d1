"""Small nets and text files as the authors' fork of Caffe has them; imported, upgraded."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from conftest import draw_image, run_sjft

TARGETS, VERSIONS, SOURCES, K = 6, 2, 20, 5
CLASSES, SOURCE_CLASSES = 3, 4
SIZE = 40


def write_files(folder: Path) -> None:
    """images/, source.txt, target.txt, neighbours.txt, levels.txt in `folder`."""
    (folder / "images").mkdir()

    def image(name: str, seed: int) -> str:
        cv2.imwrite(str(folder / "images" / name), draw_image(seed, SIZE, SIZE + 4))
        return name

    source = [f"{image(f's{i}.png', i)} {i} {i * i % SOURCE_CLASSES}" for i in range(SOURCES)]
    target = [
        f"{image(f't{i}_{v}.png', 100 + 10 * i + v)} {VERSIONS * i + v} {i % CLASSES} {i}"
        for v in range(VERSIONS)
        for i in range(TARGETS)
    ]
    near = ["\t".join(map(str, [i, *neighbours(i), 0])) for i in reversed(range(TARGETS))]
    files = {
        "source.txt": source,
        "target.txt": target,
        "neighbours.txt": near,
        "levels.txt": [f"{i} {1 + i % 2}" for i in range(TARGETS)],
    }
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n\n")


def import_files(folder: Path) -> None:
    """Write them, and what `sjft import-original` makes of them: *_lmdb, levels.json."""
    write_files(folder)
    for arguments in (
        ("source-images", "source.txt", "source_lmdb", "--root", "images"),
        ("target-images", "target.txt", "target_lmdb", "--root", "images"),
        ("neighbours", "neighbours.txt", "target_lmdb", "source_lmdb", "neighbours_lmdb"),
        ("levels", "levels.txt", "target_lmdb", "levels.json"),
    ):
        run_sjft("import-original", *arguments, cwd=folder)


def upgrade(folder: Path, text: str, *options: object, status: int = 0) -> str:
    """Upgrade the net `text` to net.prototxt in `folder`; return what the command says."""
    (folder / "original.prototxt").write_text(text)
    return run_sjft(
        *("upgrade-prototxt", "original.prototxt", "net.prototxt", "--force", *options),
        cwd=folder,
        status=status,
    )


def neighbours(i: int) -> list[int]:
    return [(3 * i + 7 * j) % SOURCES for j in range(K)]


def bins_text(channels: int, bins: int) -> str:
    """Bins of `channels` channels from -1 - c to 1 + c, printed as C++ does."""
    lines = []
    for c in range(channels):
        low, high = -1 - c / 3, 1 + c / 7
        edges = [low + (high - low) * (b + 1) / bins for b in range(bins)]
        pairs = "".join(f"{edge:.6g}\t{1 / bins:.6g}\t" for edge in edges)
        lines.append(f"{low:.6g}\t{high:.6g}\t{pairs}")
    return "\n".join(lines) + "\n"


def _layer(name: str, kind: str, bottoms: list[str], tops: list[str], more: str = "") -> str:
    blobs = [f'  bottom: "{b}"' for b in bottoms] + [f'  top: "{t}"' for t in tops]
    return "\n".join(["layer {", f'  name: "{name}"', f'  type: "{kind}"', *blobs, more, "}\n"])


def _convolution(name: str, bottom: str, outputs: int, kernel: int, stride: int = 1) -> str:
    param = (
        f"  convolution_param {{ num_output: {outputs} pad: {kernel // 2} kernel_size: {kernel} "
        f'stride: {stride} weight_filler {{ type: "xavier" }} bias_term: false }}'
    )
    return _layer(name, "Convolution", [bottom], [name], param)


def _normalised(name: str, blob: str, unit: str) -> str:
    rates = "  param { lr_mult: 0 }\n  param { lr_mult: 0 }\n  param { lr_mult: 0 }"
    return (
        _layer(f"bn{name}", "BatchNorm", [blob], [blob], rates)
        + _layer(f"scale{name}", "Scale", [blob], [blob], "  scale_param { bias_term: true }")
        + _layer(f"{unit}_relu", "ReLU", [blob], [blob])
    )


def trunk(units: tuple[int, ...], width: int, last_map: int, stem: tuple[int, int]) -> str:
    """conv1 to pool5 with Residual layers, wired and named as theirs; units as ((2, "a"), ...)."""
    kernel, channels = stem
    text = _convolution("conv1", "data", channels, kernel, 2) + _normalised(
        "_conv1", "conv1", "conv1"
    )
    pool = "  pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
    text += _layer("pool1", "Pooling", ["conv1"], ["pool1"], pool)
    blob, identity = "pool1", ""
    names = [
        (f"{stage}{suffix}", stage, i)
        for stage, count in enumerate(units, 2)
        for i, suffix in enumerate(_suffixes(count))
    ]
    for at, (name, stage, i) in enumerate(names):
        inner = width << (stage - 2)
        stride = 2 if i == 0 and stage > 2 else 1
        res = f"res{name}"
        if i == 0:
            text += _convolution(f"{res}_branch1", blob, 4 * inner, 1, stride)
        for branch, size in (("a", 1), ("b", 3)):
            conv = f"{res}_branch2{branch}"
            text += _convolution(conv, blob, inner, size, stride if branch == "a" else 1)
            text += _normalised(f"{name}_branch2{branch}", conv, conv)
            blob = conv
        text += _convolution(f"{res}_branch2c", blob, 4 * inner, 1)
        bottoms = [f"{res}_branch1", f"{res}_branch2c"] if i == 0 else [f"{res}_branch2c", identity]
        # A unit before a projection, and the last, hand on one blob; the others two.
        two = at + 1 < len(names) and names[at + 1][2] > 0
        tops = [f"{res}_left", f"{res}_right"] if two else [res]
        text += _layer(res, "Residual", bottoms, tops)
        text += _normalised(name, tops[0], res)
        blob, identity = tops[0], tops[-1]
    pool = f"\tpooling_param {{ kernel_size: {last_map} stride: 1 pool: AVE }}"
    return text + _layer("pool5", "Pooling", [blob], ["pool5"], pool)


def _suffixes(count: int) -> list[str]:
    return list("abc")[:count] if count <= 3 else ["a", *(f"b{i}" for i in range(1, count))]


def tail(half: int, classes: int, source_classes: int) -> str:
    """The two classifiers and losses."""

    def classifier(name: str, bottom: str, top: str, outputs: int) -> str:
        param = (
            "  param { lr_mult: 1 decay_mult: 1 }\n  param { lr_mult: 2 decay_mult: 0 }\n"
            f"  inner_product_param {{ num_output: {outputs} "
            'weight_filler { type: "gaussian"\n\t  std: 0.01 } }'
        )
        return _layer(name, "InnerProduct", [bottom], [top], param)

    text = ""
    for phase, number in (("TRAIN", half), ("TEST", 2)):
        more = f"  split_data_param{{ split_num: {number} }}\n  include {{ phase: {phase} }}"
        text += _layer("split_data", "SplitData", ["pool5"], ["pool5_target", "pool5_source"], more)
    text += classifier("fc_mine", "pool5_target", "fc_target", classes)
    text += _layer(
        "loss", "SoftmaxWithLoss", ["fc_target", "target_label"], ["loss"], "  loss_weight: 0.5"
    )
    text += classifier("fc_source", "pool5_source", "fc_source", source_classes)
    bottoms = ["fc_source", "source_label"]
    return text + _layer(
        "loss_source", "SoftmaxWithLoss", bottoms, ["loss_source"], "  loss_weight: 0.5"
    )


def data(
    kind: str = "RefinedBoostedJointTrainingData",
    batch_size: int = 4,
    crop: int = 32,
    resize: int = 36,
    transform: str = "mean_value: 104 mean_value: 117 mean_value: 123",
    more: str = "",
) -> str:
    """The data layers of TRAIN and of TEST, as theirs."""
    params = f"""
  include {{ phase: TRAIN }}
  transform_param {{ mirror: true crop_size: {crop}
    #mean_file: "mean.binaryproto"
    {transform} }}
  image_data_param {{ batch_size: {batch_size} new_height: {resize} new_width: {resize}
    is_color: true root_folder: "images/" }}
  boosted_joint_training_data_param {{
    source_domain_image_label_path: "source.txt"
    target_domain_image_label_path: "target.txt"
    source_domain_sample_num: {SOURCES} source_domain_class_num: {SOURCE_CLASSES}
    target_domain_sample_num: {TARGETS * VERSIONS} target_domain_class_num: {CLASSES}
    target_domain_sample_weight_path: "levels.txt"
    target_nn_configuration_path: "neighbours.txt"
    target_domain_train_num: {TARGETS} target_domain_val_num: 0
    target_nn_in_source_num: {K} base_selected_nn_num: 2
    target_val_label_path: "" target_domain_train_val_num: {TARGETS}
    highest_sample_level: 10 least_sample_per_class: 0
  }} {more}"""
    text = _layer("data", kind, [], ["data", "label"], params)
    split = f"  split_data_param{{ split_num: {batch_size // 2} }}\n  include {{ phase: TRAIN }}"
    text += _layer("split_label", "SplitData", ["label"], ["target_label", "source_label"], split)
    for name, label, count in (("target", "target_label", 2), ("source", "source_label", 1)):
        dummy = (
            f"  dummy_data_param {{ shape {{ dim: {count} dim: 3 dim: {crop} dim: {crop} }} "
            f"shape {{ dim: {count} }} }}\n  include {{ phase: TEST }}"
        )
        text += _layer(f"data_{name}", "DummyData", [], [f"data_{name}", label], dummy)
    merge = "  include { phase: TEST }"
    return text + _layer("merge_data", "MergeData", ["data_target", "data_source"], ["data"], merge)


def joint_net(**changes: object) -> str:
    """A small joint net in two stages of three and two units."""
    head = 'name: "ResNet_joint_training"\n#small domain\n'
    return head + data(**changes) + trunk((3, 2), 2, 4, (3, 8)) + tail(2, CLASSES, SOURCE_CLASSES)


def param_str(net: object) -> dict:
    """The keys of the first layer of `net`."""
    return json.loads(net.layer[0].python_param.param_str)
