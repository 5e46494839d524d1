"""The fork's retrieval nets: what their parameters are as commands of sjft."""

from __future__ import annotations

import shlex
from typing import Any

from sjft.errors import InputError
from sjft_tools.migration.fork import fork_params
from sjft_tools.migration.text_files import ALEXNET, ALEXNET_ALL, GABOR
from sjft_tools.net_files import as_fields
from sjft_tools.nets.text import Message

_WEIGHTS = " --weights bvlc_alexnet.caffemodel"


def retrieval_commands(net: Any) -> list[str]:
    """The commands that do what a retrieval net of the fork does, and notes as comments.

    Raises InputError if the bank of filters is none of sjft's.
    """
    lines = []
    weights = _WEIGHTS
    for layer in (as_fields(layer) for layer in net.layer):
        if layer.get("type") == "FeatureStatistics":
            params = fork_params(layer, "feature_stats_param")
            lines += _statistics(params)
        elif layer.get("type") == "RefinedHistFeature":
            params = fork_params(layer, "hist_feature_param")
            weights = _bank(params.get("total_channels", ALEXNET))[1]
            lines += _histograms(params, weights)
        elif layer.get("type") == "NormalKnnMatch":
            lines += _matching(fork_params(layer, "knn_match_param"), weights)
    return list(dict.fromkeys(lines))


def _bank(channels: int) -> tuple[str, str]:
    """The bank of so many channels, and the option that names its weights."""
    if channels == GABOR:
        return "gabor", ""
    if channels in (ALEXNET, ALEXNET_ALL):
        return "alexnet", _WEIGHTS
    raise InputError(
        f"the net's histograms are of {channels} channels, expected AlexNet's conv1 and conv2 "
        f"({ALEXNET}) or the Gabor bank ({GABOR})"
    )


def _statistics(params: Message) -> list[str]:
    channels = params.get("total_channels", ALEXNET)
    bank, weights = _bank(channels)
    lines = []
    if channels == ALEXNET_ALL:
        lines.append("# conv3, conv4 and conv5 are left out: the distance is of conv1 and conv2")
    lines.append(
        f"sjft fit-bins TARGET_LMDB BINS.npz --bank {bank}{weights} --bins {params['bin']}"
    )
    return lines


def _histograms(params: Message, weights: str) -> list[str]:
    lines = [f"# histograms: {params['bin']} bins per channel, as BINS.npz has"]
    shares = params.get("channel_weight", [])
    if len(set(shares)) > 1:
        lines.append(f"# layer weights {shares} are not carried over: conv1 and conv2 count alike")
    if params.get("feature_statistics_path"):
        path = shlex.quote(params["feature_statistics_path"])
        lines.append(f"sjft import-original bins {path} TARGET_LMDB BINS.npz{weights}")
    return lines


def _matching(params: Message, weights: str) -> list[str]:
    return [
        f"sjft retrieve TARGET_LMDB SOURCE_LMDB NEIGHBORS_LMDB --bins-file BINS.npz{weights} --k "
        f"{params['nodes_num']}"
    ]
