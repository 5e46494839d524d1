"""List the published weights, or check a weights file against a net.

Without arguments: every published model with the links of those who published it. With a net and a
weights file: which layers would be loaded by name, at which Caffe would end, which would stay
random, which of the file are not used. Exit status 1 if Caffe would end, or nothing would be
loaded. --fitted writes the file without the layers at which Caffe would end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from sjft.errors import InputError
from sjft_tools.atomic import refuse_existing, write_file
from sjft_tools.caffemodel import drop_layers, listed, read_caffemodel, trained_blobs
from sjft_tools.command import add_force
from sjft_tools.models.loading import Loading, borrowers, loading
from sjft_tools.models.published import MODELS, identified
from sjft_tools.net_files import layers_of, read_net
from sjft_tools.netscope.options import add_view_options
from sjft_tools.netscope.view import view

_LISTED = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", nargs="?", metavar="NET.prototxt", help="the net to load into")
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS.caffemodel", help="the file")
    parser.add_argument(
        "--fitted",
        metavar="OUT.caffemodel",
        help="write the weights without the layers that differ, which then start anew",
    )
    add_view_options(parser)
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    if args.fitted is not None:
        refuse_existing(args.fitted, args.force)
    if args.net is None:
        _list()
        return
    if args.weights is None:
        raise InputError(f"expected a weights file beside the net {args.net}")
    net = read_net(args.net)
    model = read_caffemodel(args.weights)
    sha1 = hashlib.sha1(Path(args.weights).read_bytes()).hexdigest()
    blobs = trained_blobs(model)
    params = view(net, args.net, args.phase, dict(args.input)).built.params
    shared = borrowers(layers_of(net, args.phase))
    wanted = {name: shapes for name, shapes in params.items() if name not in shared}
    found = loading(wanted, blobs)
    print(f"file    {args.weights}: {identified(os.path.basename(args.weights), sha1)}")
    print(f"        sha1 {sha1}")
    _report(found, len(wanted))
    if args.fitted is not None and found.taken:
        drop_layers(model, found.refused)
        write_file(args.fitted, model.SerializeToString(), args.force)
        print(f"fitted  {args.fitted} written, without the layers that differ")
    elif found.refused or not found.taken:
        raise SystemExit(1)


def _report(found: Loading, count: int) -> None:
    print(f"loads   {len(found.taken)} of the net's {count} layers with weights")
    for name, why in found.refused.items():
        print(f"differs '{name}': {why}; Caffe would end here")
    if found.refused:
        print("        --fitted writes the weights without these, to train them anew")
    if found.random:
        names = listed(found.random, _LISTED)
        print(f"random  {names}: not in the file, start as the net's fillers say")
    if found.unused:
        print(f"unused  {listed(found.unused, _LISTED)}: in the file alone")


def _list() -> None:
    lines = []
    for model in MODELS:
        facts = {
            "file": model.caffemodel,
            "from": model.caffemodel_url,
            "stated in": model.stated_in,
            "net": model.net,
            "sha1": model.sha1 or "not published",
            "license": model.license or "not stated",
            "caffe_commit": model.caffe_commit or "not stated",
        }
        lines += [model.name, *(f"  {label:<13} {value}" for label, value in facts.items())]
    print("\n".join(lines))
