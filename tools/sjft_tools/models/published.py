"""The published weights that the nets under prototxt/ are for.

Every fact is that of the page named as `stated_in`; "" where that page does not say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedModel:
    """A weights file and where it comes from; the words are those of Caffe's model zoo.

    `net`: the folder of ours whose nets take it, or the command that makes one of the net that was
    published with it.
    """

    name: str
    caffemodel: str  # the file's name; with a * where it is in a folder of several
    caffemodel_url: str
    net: str
    stated_in: str
    sha1: str = ""
    license: str = ""
    caffe_commit: str = ""


_AUTHORS = "https://github.com/ZYYSzj/Selective-Joint-Fine-tuning"
_DRIVE = "https://drive.google.com/drive/folders/"
_HE = "https://github.com/KaimingHe/deep-residual-networks"
_ONEDRIVE = (
    "https://onedrive.live.com/?authkey=%21AAFW2-FVoxeVRck&id=4006CBB8476FF777%2117887"
    "&cid=4006CBB8476FF777"
)
_BVLC = "http://dl.caffe.berkeleyvision.org/"
_ZOO = "https://github.com/BVLC/caffe/tree/master/models/"


def _authors(title: str, folder: str, net: str = "prototxt") -> PublishedModel:
    return PublishedModel(
        f"pre-activation ResNet-152, {title}", "*.caffemodel", _DRIVE + folder, net, _AUTHORS
    )


def _he(depth: int) -> PublishedModel:
    return PublishedModel(
        f"ResNet-{depth}",
        f"ResNet-{depth}-model.caffemodel",
        _ONEDRIVE,
        f"prototxt/nets/resnet{depth}",
        _HE,
        caffe_commit="b590f1d",
    )


def _bvlc(title: str, name: str, sha1: str, commit: str) -> PublishedModel:
    return PublishedModel(
        title,
        f"{name}.caffemodel",
        f"{_BVLC}{name}.caffemodel",
        "sjft graft",
        _ZOO + name,
        sha1,
        "unrestricted",
        commit,
    )


MODELS = [
    _authors("ImageNet ILSVRC 2012", "0B3sl2RWJv33ZRTNyRkdkNzBnRVU"),
    _authors("Places 205", "0B3sl2RWJv33ZRTNyRkdkNzBnRVU"),
    _authors("Stanford Dogs 120", "0B3sl2RWJv33ZR1ZkazQxWEZ2TGc", "prototxt/stanford_dogs"),
    _authors("Oxford Flowers 102", "0B3sl2RWJv33ZdGp4dXk2RUpXNG8", "prototxt/flowers102"),
    _authors("Caltech 256", "0B3sl2RWJv33ZSjZSSFVmQ3R0TDA", "prototxt/caltech256"),
    _authors("MIT Indoor 67", "0B3sl2RWJv33ZWUFwNk1wMnZhaTg", "prototxt/mit67"),
    _he(50),
    _he(101),
    _he(152),
    PublishedModel(
        "VGG-16",
        "VGG_ILSVRC_16_layers.caffemodel",
        "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        "prototxt/nets/vgg16",
        "https://gist.github.com/ksimonyan/211839e770f7b538e2d8",
        license="see http://www.robots.ox.ac.uk/~vgg/research/very_deep/",
    ),
    PublishedModel(
        "SqueezeNet 1.0, Deep Compression",
        "decompressed_SqueezeNet.caffemodel",
        "https://github.com/songhan/SqueezeNet-Deep-Compression",
        "prototxt/nets/squeezenet",
        "https://github.com/songhan/SqueezeNet-Deep-Compression",
    ),
    PublishedModel(
        "SqueezeNet 1.0",
        "squeezenet_v1.0.caffemodel",
        "https://github.com/forresti/SqueezeNet/tree/master/SqueezeNet_v1.0",
        "sjft graft",
        "https://github.com/forresti/SqueezeNet",
    ),
    _bvlc(
        "BVLC AlexNet",
        "bvlc_alexnet",
        "9116a64c0fbe4459d18f4bb6b56d647b63920377",
        "709dc15af4a06bebda027c1eb2b3f3e3375d5077",
    ),
    _bvlc(
        "BVLC CaffeNet",
        "bvlc_reference_caffenet",
        "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
        "709dc15af4a06bebda027c1eb2b3f3e3375d5077",
    ),
    _bvlc(
        "BVLC GoogLeNet",
        "bvlc_googlenet",
        "405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        "bc614d1bd91896e3faceaf40b23b72dab47d44f5",
    ),
]


def identified(file_name: str, sha1: str) -> str:
    """What a file of that name and SHA-1 is, in words."""
    for model in MODELS:
        if model.sha1 == sha1:
            return f"{model.name}, as published"
    for model in MODELS:
        if model.caffemodel == file_name and model.sha1:
            return f"not {model.name} as published, whose SHA-1 is {model.sha1}"
        if model.caffemodel == file_name:
            return f"by its name {model.name}, whose SHA-1 is not published"
    return "none of the published ones whose SHA-1 is known"
