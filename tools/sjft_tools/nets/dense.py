"""Fully convolutional nets: the scores of every window of an image, from the same weights file.

An InnerProduct's weights (outputs x channels * height * width) do not load into a Convolution
(outputs x channels x height x width), although the numbers and their order are the same: Caffe
compares shapes. No caffemodel needs to be rewritten for that: here the InnerProduct stays and takes
its weights from the file by its name, and a convolution shares its memory.
"""

from __future__ import annotations

from sjft_tools.nets.text import Item, Word


def inner_product_as_convolution(
    name: str, bottom: str, top: str, num_output: int, channels: int, kernel: int
) -> list[Item]:
    """The fully connected layer `name` over every kernel x kernel window of `bottom`: blob `top`.

    The InnerProduct computes something from a constant blob that nobody reads. Sharing with
    share_mode PERMISSIVE compares no more than how many numbers there are.
    """
    names = [f"{name}_weights", f"{name}_bias"]
    holder, shape = f"{name}_bottom", {"dim": [1, channels, kernel, kernel]}
    return [
        f"{top} is {name} over every {kernel} x {kernel} window: {name} itself only takes the\n"
        f"weights from the file, and the convolution uses them. (The input_param of {holder}\n"
        "only tells netscope its shape.)",
        {
            "name": holder,
            "type": "DummyData",
            "top": holder,
            "dummy_data_param": {"shape": shape},
            "input_param": {"shape": shape},
        },
        {
            "name": name,
            "type": "InnerProduct",
            "bottom": holder,
            "top": name,
            "param": [{"name": weights} for weights in names],
            "inner_product_param": {"num_output": num_output},
        },
        {"name": f"{name}_unused", "type": "Silence", "bottom": name},
        {
            "name": top,
            "type": "Convolution",
            "bottom": bottom,
            "top": top,
            "param": [{"name": weights, "share_mode": Word("PERMISSIVE")} for weights in names],
            "convolution_param": {"num_output": num_output, "kernel_size": kernel},
        },
    ]
