"""The checker: why netscope would refuse a net, or show another one than Caffe's.

One function per rule. What is found here is wrong in the picture; where only shapes are missing,
sjft_tools.netscope.shapes tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from sjft_tools.netscope.grammar import Field, GrammarError, Problem, read_fields
from sjft_tools.netscope.layers import ShownLayer, lost_fields, shown_layers

_LAYER_FIELDS = ("layer", "layers")


def netscope_problems(text: str) -> list[Problem]:
    """Return every problem that netscope has with the net `text`, in the order of its lines."""
    try:
        fields = read_fields(text)
    except GrammarError as error:
        return [error.problem]
    layers = shown_layers(fields)
    problems = [
        *_head(fields),
        *lost_fields(fields),
        *_phases(fields),
        *_incomplete(layers),
        *_names(layers),
        *_writers(layers),
        *_sources(layers, fields),
        *_several_in_place(layers),
        *_false_words(layers),
    ]
    return sorted(set(problems))


def _head(fields: list[Field]) -> Iterator[Problem]:
    """What stands first is taken for the net's own fields."""
    if fields[0].is_message:
        yield Problem(
            fields[0].line,
            f"the first {fields[0].name} is taken for the net's heading and not shown: begin the "
            f'file with name: "..."',
        )


def _phases(fields: list[Field]) -> Iterator[Problem]:
    """One include with a phase is understood, nothing else."""
    for layer in fields:
        if layer.name not in _LAYER_FIELDS or not isinstance(layer.value, list):
            continue
        includes = [field for field in layer.value if field.name == "include"]
        for again in includes[1:]:
            yield Problem(again.line, "only the last include of a layer counts: give one")
        for include in includes:
            for field in include.value if isinstance(include.value, list) else []:
                if field.name != "phase":
                    yield Problem(field.line, f"'{field.name}' in an include is ignored")
        for field in layer.value:
            if field.name == "exclude":
                yield Problem(field.line, "'exclude' is ignored: write include { phase: ... }")


def _incomplete(layers: list[ShownLayer]) -> Iterator[Problem]:
    for layer in layers:
        for field in ("name", "type"):
            if not getattr(layer, field):
                yield Problem(layer.line, f"a layer has no {field}: netscope cannot draw it")


def _names(layers: list[ShownLayer]) -> Iterator[Problem]:
    """A layer's name is what netscope knows it by."""
    seen: set[str] = set()
    for layer in layers:
        if layer.name in seen:
            yield Problem(layer.line, f"two layers of TRAIN have the name '{layer.name}'")
        seen.add(layer.name)


def _writers(layers: list[ShownLayer]) -> Iterator[Problem]:
    """A blob is written once, and then only in place."""
    writers: dict[str, str] = {}
    for layer in layers:
        if layer.in_place:
            continue
        for top in layer.tops:
            if top in writers:
                yield Problem(
                    layer.line,
                    f"'{layer.name}' writes the blob '{top}', which '{writers[top]}' has written: "
                    f"in TRAIN one layer alone may, or others in place",
                )
            writers.setdefault(top, layer.name)


def _sources(layers: list[ShownLayer], fields: list[Field]) -> Iterator[Problem]:
    """A blob is read after it was written."""
    written = {str(field.value) for field in fields if field.name == "input"}
    for layer in layers:
        for bottom in layer.bottoms:
            if bottom not in written:
                yield Problem(
                    layer.line,
                    f"'{layer.name}' reads the blob '{bottom}', which no layer of TRAIN before it "
                    f"writes",
                )
        written.update(layer.tops)


def _several_in_place(layers: list[ShownLayer]) -> Iterator[Problem]:
    """In place means one bottom that is the one top."""
    for layer in layers:
        if not layer.in_place and set(layer.bottoms) & set(layer.tops):
            yield Problem(
                layer.line,
                f"'{layer.name}' writes over one of several blobs: netscope knows in-place layers "
                f"of one bottom and one top only, and sees a circle",
            )


def _false_words(layers: list[ShownLayer]) -> Iterator[Problem]:
    """A word that is not empty is true in JavaScript."""
    for layer in layers:
        for message, field in (
            ("pooling_param", "global_pooling"),
            ("transform_param", "force_gray"),
        ):
            params = layer.params.get(message)
            if isinstance(params, dict) and params.get(field) == "false":
                yield Problem(
                    layer.line, f"'{field}: false' is taken for true: leave the field out"
                )
