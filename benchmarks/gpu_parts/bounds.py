"""Step: what this GPU does at best: products of matrices, and bytes copied, measured by torch."""

from __future__ import annotations

import torch
from clock import best_seconds
from step import Findings, Settings, run
from tables import table


def main(settings: Settings, findings: Findings) -> None:
    device = "cpu" if settings["gpu"] is None else f"cuda:{settings['gpu']}"
    side = settings["product_side"]
    a, b = (torch.rand((side, side), device=device) for _ in range(2))
    rates = {}
    for name, precision in (("float32", "highest"), ("TensorFloat-32", "high")):
        torch.set_float32_matmul_precision(precision)
        rates[name] = 2 * side**3 / best_seconds(lambda: a @ b)
    source = torch.zeros(settings["copied_mib"] << 18, device=device)
    copy = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    rates["bytes"] = moved / best_seconds(lambda: copy.copy_(source))
    rows = [
        [f"float32 product, {side} x {side}", rates["float32"] / 1e12, "TFLOP/s"],
        [f"TensorFloat-32 product, {side} x {side}", rates["TensorFloat-32"] / 1e12, "TFLOP/s"],
        ["copied, read and written", rates["bytes"] / 1e9, "GB/s"],
    ]
    name = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    findings.add(table(f"Bounds, measured on {name}", ["", "", ""], rows), rates=rates, device=name)


if __name__ == "__main__":
    run(main)
