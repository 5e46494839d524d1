"""Labels against the scores that they are compared with, once the nets are made.

Caffe's own layers look a label's score up without asking whether there is one: beyond the last they
read, and write, what lies there in memory.
"""

from __future__ import annotations

from typing import Any

from sjft.errors import InputError
from sjft_tools.checks.classifiers import LABEL_LAYERS, ignored_label
from sjft_tools.solver_files import SolverNet, read_message, solver_nets


def check_labels(solver: Any, path: str) -> None:
    """Raise InputError if one of sjft's data layers has labels without a score.

    `solver`: pycaffe's, made of the file `path`. Labels whose greatest is ignored are passed over:
    nothing more is known of them.
    """
    from caffe.proto import caffe_pb2

    message = read_message(path, caffe_pb2.SolverParameter())
    described = solver_nets(message, path, caffe_pb2.NetParameter)
    for net, description in zip((solver.net, *solver.test_nets), described):
        _check_net(net, description)


def _check_net(net: Any, description: SolverNet) -> None:
    ignored = {layer.name: ignored_label(layer) for layer in description.layers}
    classes: dict[int, int] = {}  # of the labels in a blob, by its number
    for i, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        bottoms, tops = list(net._bottom_ids(i)), list(net._top_ids(i))
        classes.update(zip(tops, getattr(layer, "label_classes", ())))
        if layer.type == "Split":  # Caffe's own, where several layers take a blob
            classes.update(dict.fromkeys(tops, classes.get(bottoms[0], 0)))
        if layer.type not in LABEL_LAYERS or len(bottoms) < 2:
            continue
        scores, labels = bottoms[:2]
        greatest, shape = classes.get(labels, 0) - 1, list(net._blobs[scores].shape)
        if len(shape) > 1 and greatest >= shape[1] and ignored.get(name) != greatest:
            raise InputError(
                f"'{name}' of {description.name} compares labels up to {greatest} with "
                f"'{net._blob_names[scores]}', which has {shape[1]} scores: expected num_output "
                f"{greatest + 1} or more of the layer that computes it"
            )
