"""What an experiment's net says of its data: how images are tested, which classes are left out."""

from __future__ import annotations

import os
from typing import NamedTuple

from sjft.errors import InputError
from sjft.layer_params import parse_joint_data, parse_target_data
from sjft_tools.adapting import net_of
from sjft_tools.evaluation.options import mean_options, size_options
from sjft_tools.net_files import layers_of, read_net, sjft_layer


class NetData(NamedTuple):
    """Of a net's data layers.

    `size`, `mean`: the options of 'sjft evaluate' by which images are shown as TEST shows them, but
    for what it does without; `min_source_per_class`: as the joint data layer has it.
    """

    size: list[str]
    mean: list[str]
    min_source_per_class: int


def net_data(solver: str, copy: str) -> NetData:
    """Return what the net of `solver` says, or its `copy` if these files are gone.

    What it does not say, or not rightly, of which whoever builds it tells, is empty or 0.
    """
    path = net_of(solver) if os.path.isfile(solver) else copy
    found = NetData([], [], 0)
    if not os.path.isfile(path):
        return found
    net = read_net(path)
    for phase in ("TRAIN", "TEST"):
        for layer in layers_of(net, phase):
            try:
                if sjft_layer(layer) == "JointDataLayer":
                    joint = parse_joint_data(layer.python_param.param_str)
                    found = found._replace(min_source_per_class=joint.min_source_per_class)
                elif sjft_layer(layer) == "TargetDataLayer" and phase == "TEST":
                    tested = parse_target_data(layer.python_param.param_str, train=False)
                    resize, shorter, crop, _ = tested.geometry
                    found = found._replace(
                        size=size_options(resize, shorter and shorter[0], crop),
                        mean=mean_options(tested.mean.tolist()),
                    )
            except InputError:
                continue
    return found
