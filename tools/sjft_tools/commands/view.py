"""Show a net: in netscope with the shapes of all blobs, or as a picture, without a network.

Writes the net's view, which has Input layers in place of data layers, stock losses in place of
Python ones and a Crop for each part of a Slice, since netscope infers no shape beyond those; blobs
and weights keep their names and shapes. --check tells what netscope would refuse or misread in the
net itself, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sjft.errors import InputError
from sjft_tools.atomic import new_file, refuse_outputs, write_file
from sjft_tools.caffemodel import times
from sjft_tools.checks.report import CheckFailed
from sjft_tools.command import add_force
from sjft_tools.net_files import read_net
from sjft_tools.netscope.grammar import read_fields
from sjft_tools.netscope.layers import shown_layers
from sjft_tools.netscope.options import add_view_options
from sjft_tools.netscope.picture import check_picture, draw
from sjft_tools.netscope.rules import netscope_problems
from sjft_tools.netscope.shapes import inferred_shapes
from sjft_tools.netscope.view import view
from sjft_tools.solver_files import read_text

EDITOR = "https://ethereon.github.io/netscope/#/editor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "net", nargs="+", metavar="NET.prototxt", help="the net; with --check any number"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="the view (default: NET_view.prototxt, beside the net)"
    )
    parser.add_argument(
        "--draw",
        metavar="PICTURE",
        help="draw it too: the ending says how, .svg, .png or .pdf (needs matplotlib)",
    )
    add_view_options(parser)
    parser.add_argument("--check", action="store_true", help="check the net, write nothing")
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    """Write the view, or check. Leaves with status 1 if --check found a problem."""
    if args.check:
        if not _check(args.net):
            raise SystemExit(1)
        return
    if len(args.net) > 1:
        raise InputError(f"got {len(args.net)} nets, expected one: several go with --check alone")
    [net] = args.net
    output = args.output or f"{os.path.splitext(net)[0]}_view.prototxt"
    if os.path.realpath(net) in map(os.path.realpath, filter(None, (output, args.draw))):
        raise InputError(f"the net {net} is also an output: expected another name for that")
    refuse_outputs((output, args.draw), args.force)
    if args.draw is not None:
        check_picture(args.draw)
    made = view(read_net(net), net, args.phase, dict(args.input))
    if args.draw is not None:
        layers = shown_layers(read_fields(made.text))
        with new_file(args.draw, args.force) as partial:
            draw(partial, f"{net}, {args.phase}", layers, made.built.shapes)
    write_file(output, made.text.encode(), args.force)
    for change in made.changes:
        print(change)
    count = made.text.count("layer {")
    print(f"{output} written: {count} layers, {len(made.built.params)} of them with weights")
    if args.draw is not None:
        print(f"{args.draw} drawn")
    for blob in made.unlike_caffe():
        print(f"netscope: {blob}")
    print(f"to see it in netscope: open {EDITOR},")
    print(f"replace the text at the left by that of {output}, press Shift+Enter")


def _check(nets: list[str]) -> bool:
    """Print what netscope makes of each net; return whether it shows all of them as they are."""
    good = True
    for net in nets:
        text = _text(net)
        problems = netscope_problems(text)
        for problem in problems:
            print(f"{net}, line {problem.line}: {problem.text}")
        good = good and not problems
        if not problems:
            print(f"{net}: netscope reads it; {_shapes_told(text)}")
    return good


def _text(net: str) -> str:
    """Return the net's text, in whose comments bytes that are not UTF-8 are replaced."""
    try:
        return Path(net).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{net} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        pass
    try:
        return read_text(net)
    except CheckFailed as error:
        problem = error.problem.replace("is not UTF-8", "is not text in UTF-8")
        raise InputError(f"{problem}: expected a .prototxt file") from None


def _shapes_told(text: str) -> str:
    inferred = inferred_shapes(read_fields(text))
    if inferred.stopped is not None:
        return f"{inferred.stopped.text} ('sjft view' writes a net that goes on)"
    if not inferred.shapes:
        return "it holds no layers"
    last, shape = list(inferred.shapes.items())[-1]
    return f"{len(inferred.shapes)} blobs with shapes, the last '{last}' {times(shape)}"
