"""The fork's retrieval nets: what their parameters are as commands of sjft."""

from __future__ import annotations

from typing import Any

from sjft.errors import InputError
from sjft_tools.net_files import as_fields
from sjft_tools.nets.text import Message

_ALEXNET, _GABOR = 96 + 256, 48  # channels of the banks
_ALEXNET_ALL = 96 + 256 + 384 + 384 + 256  # conv1 to conv5, which their statistics net counts
_DEFAULT_BINS = 32  # of the fork


def retrieval_commands(net: Any) -> list[str]:
    """The commands that do what a retrieval net of the fork does, and notes as comments.

    Raises InputError if the bank of filters is none of sjft's.
    """
    lines = []
    for layer in (as_fields(layer) for layer in net.layer):
        if layer.get("type") == "FeatureStatistics":
            lines += _statistics(layer.get("feature_stats_param", {}))
        elif layer.get("type") == "RefinedHistFeature":
            lines += _histograms(layer.get("hist_feature_param", {}))
        elif layer.get("type") == "NormalKnnMatch":
            lines += _matching(layer.get("knn_match_param", {}))
    return list(dict.fromkeys(lines))


def _bank(channels: int) -> str:
    if channels == _GABOR:
        return "--bank gabor"
    if channels in (_ALEXNET, _ALEXNET_ALL):
        return "--bank alexnet --weights bvlc_alexnet.caffemodel"
    raise InputError(
        f"the net's histograms are of {channels} channels, expected AlexNet's conv1 and conv2 "
        f"({_ALEXNET}) or the Gabor bank ({_GABOR})"
    )


def _statistics(params: Message) -> list[str]:
    channels = params.get("total_channels", _ALEXNET)
    lines = []
    if channels == _ALEXNET_ALL:
        lines.append("# conv3, conv4 and conv5 are left out: the distance is of conv1 and conv2")
    bins = params.get("bin", _DEFAULT_BINS)
    lines.append(f"sjft fit-bins TARGET_LMDB BINS.npz {_bank(channels)} --bins {bins}")
    return lines


def _histograms(params: Message) -> list[str]:
    lines = [f"# histograms: {params.get('bin', _DEFAULT_BINS)} bins per channel, as BINS.npz has"]
    _bank(params.get("total_channels", _ALEXNET))
    weights = params.get("channel_weight", [])
    if len(set(weights)) > 1:
        lines.append(f"# layer weights {weights} are not carried over: conv1 and conv2 count alike")
    if params.get("feature_statistics_path"):
        lines.append(
            f"sjft import-original bins {params['feature_statistics_path']} TARGET_LMDB BINS.npz"
        )
    return lines


def _matching(params: Message) -> list[str]:
    return [
        f"sjft retrieve TARGET_LMDB SOURCE_LMDB NEIGHBORS_LMDB --bins-file BINS.npz --k "
        f"{params.get('nodes_num', 1)}"
    ]
