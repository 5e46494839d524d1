"""Step: the joint net forward and backward on the GPU and on the CPU, layer by layer and whole.

Both have the same weights and images. With --reference also against what another build of Caffe
noted of the same pass on its CPU.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import lockstep
import nets
import numpy as np
import summary
from step import Findings, Settings, run
from tables import table

from sjft_tools.pycaffe import import_caffe

caffe = import_caffe()

#: What a layer's own error must not exceed, by the L2 norm: 2**-24 for every rounding in float32,
#: some of it magnified where normalisation takes differences; with TensorFloat-32 2**-11.
GREATEST = {"ruled out": 2e-4, "as it is": 5e-3}


def main(settings: Settings, findings: Findings) -> None:
    joint, batch, gpu = nets.NETS[settings["net"]], settings["batch"], settings["gpu"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(nets.text(joint, nets.input_data(joint, batch)))
        nets.use(caffe, None)
        cpu = filled(str(file), joint, batch)
        if settings["make_reference"]:
            cpu.forward()
            cpu.backward()
            summary.save(settings["reference"], summary.of(cpu))
            return
        nets.use(caffe, gpu)
        other = filled(str(file), joint, batch)
    moments = [time.perf_counter()]

    def lap() -> None:
        moments.append(time.perf_counter())
        findings.add(seconds=np.diff(moments).tolist())  # layers forward, backward, the whole net

    def use(number: int) -> None:
        nets.use(caffe, gpu if number else None)

    errors = lockstep.forward(cpu, other, use)
    lap()
    findings.add(errors=[error._asdict() for error in errors])
    errors += lockstep.backward(cpu, other, use)
    lap()
    worst = max(errors, key=lambda error: error.relative)
    label = f"TensorFloat-32 {settings['label']}"
    whats = ("forward", "backward", "gradient")
    columns = [f"{what} {kind}" for what in whats for kind in ("median", "greatest")]
    findings.add(
        table(
            f"Relative error of each layer alone, batch {batch}, {label}",
            ["type", "layers", *columns],
            lockstep.by_type(errors),
        ),
        errors=[error._asdict() for error in errors],
        worst=worst._asdict(),
    )
    use(1)
    once_more(other, joint, batch)
    rows = whole(cpu, other)
    findings.add(
        table(f"The whole net, {label}", ["", "CPU", "GPU", "relative error"], rows), whole=rows
    )
    if settings["reference"]:
        noted = summary.load(settings["reference"])
        found = {"CPU": summary.of(cpu), "GPU": summary.of(other)}
        by_kind = {name: summary.errors(made, noted) for name, made in found.items()}
        kinds = list(by_kind["CPU"])
        findings.add(
            table(
                f"Against the CPU build's reference, relative error of samples, {label}",
                ["", *by_kind],
                [[kind, *(each[kind] for each in by_kind.values())] for kind in kinds],
            ),
            reference=by_kind,
        )
    lap()
    greatest = GREATEST[settings["label"]]
    if not worst.relative <= greatest:
        raise SystemExit(f"{worst.layer}: {worst.what} is off by {worst.relative}, > {greatest}")


def filled(file: str, joint: nets.JointNet, batch: int) -> Any:
    """Return the net with weights and inputs."""
    net = caffe.Net(file, caffe.TRAIN)
    nets.fill_weights(net)
    nets.fill_inputs(net, joint, batch)
    return net


def once_more(net: Any, joint: nets.JointNet, batch: int) -> None:
    """Run the whole net forward and backward from where it began."""
    nets.fill_weights(net)
    nets.fill_inputs(net, joint, batch)
    net.clear_param_diffs()
    net.forward()
    net.backward()


def whole(cpu: Any, other: Any) -> list[list[Any]]:
    """Return rows that compare the nets' losses, last features, scores and gradients."""
    rows: list[list[Any]] = []
    for name in ("loss", "target_loss", "source_loss"):
        a, b = (float(net.blobs[name].data.ravel()[0]) for net in (cpu, other))
        rows.append([name, a, b, abs(a - b) / abs(a)])
    for name in ("pool5", "fc_target", "fc_source"):
        a, b = (net.blobs[name].data for net in (cpu, other))
        rows.append([name, norm(a), norm(b), lockstep.relative_error(b, a)])
    for kind in ("InnerProduct", "Convolution", "Scale"):
        a, b = (gradients(net, kind) for net in (cpu, other))
        name = f"gradients, {kind}"
        rows.append([name, norm(a), norm(b), lockstep.relative_error(b, a)])
    return rows


def gradients(net: Any, kind: str) -> np.ndarray:
    """Return the gradients of all layers of a type, one after another."""
    layers = [layer for layer in net.layers if layer.type == kind]
    return np.concatenate([blob.diff.ravel() for layer in layers for blob in layer.blobs])


def norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.ravel()))


if __name__ == "__main__":
    run(main)
