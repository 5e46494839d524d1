"""An experiment's YAML file: its keys, their kinds, and the checks that need nothing else.

::

    name: flowers102
    target_train: {convert: "flowers102 /data/oxford102 --split trainval --resize-shorter 256"}
    target_test: {convert: "flowers102 /data/oxford102 --split test --resize-shorter 256"}
    source: data/source_lmdb
    bank: {name: alexnet, weights: bvlc_alexnet.caffemodel}
    neighbours: {k: 5000}
    net: {solver: ..., deploy: ..., weights: resnet152.caffemodel, k0: 300}
    rounds:
      - {max_iter: 12000, base_lr: 0.01, stepsize: 4000}
      - {max_iter: 6000, base_lr: 0.001, stepsize: 3000}

An image set is an LMDB, or what one types after `sjft convert`, without the output. In the place of
the section, `neighbours` may be the LMDB of another run; then there is no `bank`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sjft.errors import InputError, did_you_mean
from sjft.params import REQUIRED, Kind, Param, either, integer, nothing, number, one_of, text
from sjft_tools.experiment.yaml_file import read_yaml

Section = dict[str, Any]

_OPTIONS = Kind("options as one types them, in one string", lambda v: type(v) is str)
_IMAGES = Kind(
    "an LMDB's path, or {convert: what one types after 'sjft convert', without the output}",
    lambda v: (
        (type(v) is str and v != "")
        or (type(v) is dict and list(v) == ["convert"] and type(v["convert"]) is str)
    ),
)
_SECTION = Kind("a section of keys", lambda v: type(v) is dict)
_FOUND = Kind("an LMDB's path", lambda v: type(v) is str and v != "")
_ROUNDS = Kind(
    "a list of one or more rounds, each a section of keys",
    lambda v: type(v) is list and len(v) >= 1 and all(type(each) is dict for each in v),
)
_FIGURES = Kind(
    "a section of figures in %, each under its name",
    lambda v: type(v) is dict and all(type(each) in (int, float) for each in v.values()),
)
_NAME = Kind(
    "a name of at most 100 characters for a folder, without '/', that begins with none of '.-'",
    lambda v: type(v) is str and re.fullmatch(r"[^./\0-][^/\0]{0,99}", v) is not None,
)
_some = integer(1, 2**31 - 1)  # as Caffe's int32

_TOP = {
    "name": Param(_NAME, REQUIRED),
    "target_train": Param(_IMAGES, REQUIRED),
    "target_test": Param(_IMAGES, REQUIRED),
    "target_validation": Param(either(_IMAGES, nothing()), None),
    "source": Param(_IMAGES, REQUIRED),
    "bank": Param(either(_SECTION, nothing()), None),
    "neighbours": Param(either(_FOUND, _SECTION), REQUIRED),
    "net": Param(_SECTION, REQUIRED),
    "rounds": Param(_ROUNDS, REQUIRED),
    "leaks": Param(either(_OPTIONS, nothing()), None),
    "harden": Param(_OPTIONS, ""),
    "evaluate": Param(_OPTIONS, ""),
    "gallery": Param(_OPTIONS, ""),
    "paper": Param(_FIGURES, {}),
    "seed": Param(_some, 1),
}
_BANK = {
    "name": Param(one_of("alexnet", "gabor"), REQUIRED),
    "weights": Param(either(text(), nothing()), None),
    "options": Param(_OPTIONS, ""),
}
_NEIGHBOURS = {"k": Param(_some, REQUIRED), "options": Param(_OPTIONS, "")}
_NET = {
    "solver": Param(text(), REQUIRED),
    "deploy": Param(text(), REQUIRED),
    "deploy_dense": Param(either(text(), nothing()), None),
    "weights": Param(either(text(), nothing()), None),
    "k0": Param(_some, REQUIRED),
    "gpu": Param(either(text(), integer(0), nothing()), None),
}
_ROUND = {
    "max_iter": Param(_some, REQUIRED),
    "base_lr": Param(number(0), REQUIRED),
    "stepsize": Param(either(_some, nothing()), None),
    "snapshot": Param(either(_some, nothing()), None),
    "test_interval": Param(either(_some, nothing()), None),
}


class Experiment(NamedTuple):
    """A checked experiment; the sections hold every key that they may have."""

    name: str
    images: dict[str, str | list[str]]
    """Role (target_train, target_test, target_validation, source) -> LMDB, or words to convert."""
    bank: Section | None
    """None where the neighbours are found already."""
    neighbours: Section | str
    """A section, or the LMDB that has them."""
    net: Section
    rounds: list[Section]
    leaks: list[str] | None
    """Options of `sjft leaks`; None: no search for leaks."""
    harden: list[str]
    evaluate: list[str]
    gallery: list[str]
    paper: dict[str, float]
    """Published figures to show beside one's own."""
    seed: int


def read_experiment(path: str) -> Experiment:
    """Read the YAML file `path`.

    Raises InputError if it cannot be read, holds an unknown key (the nearest valid one is named),
    lacks one, or has a value of the wrong kind.
    """
    top = _section(read_yaml(path), _TOP, path)
    images = {
        role: _convert_words(value["convert"], f"{path}, '{role}'")
        if isinstance(value, dict)
        else value
        for role, value in top.items()
        if role in ("target_train", "target_test", "target_validation", "source") and value
    }
    net = _section(top["net"], _NET, f"{path}, section 'net'")
    bank, neighbours = _search(top, path)
    rounds = [
        _section(each, _ROUND, f"{path}, round {number}")
        for number, each in enumerate(top["rounds"], 1)
    ]
    for place, each in enumerate(rounds, 1):
        if not each["base_lr"]:
            raise InputError(f"{path}, round {place}: 'base_lr' must be above 0, got 0")
    if isinstance(neighbours, dict) and net["k0"] > neighbours["k"]:
        raise InputError(
            f"{path}: k0 {net['k0']} neighbours are to be used, but k {neighbours['k']} are to be "
            f"retrieved: expected k >= k0"
        )
    leaks = None if top["leaks"] is None else _words(top["leaks"], path)
    words = {name: _words(top[name], path) for name in ("harden", "evaluate", "gallery")}
    return Experiment(
        top["name"],
        images,
        bank,
        neighbours,
        net,
        rounds,
        leaks,
        **words,
        paper=top["paper"],
        seed=top["seed"],
    )


def _search(top: Section, path: str) -> tuple[Section | None, Section | str]:
    """Return the sections 'bank' and 'neighbours', or None and the LMDB that has the neighbours."""
    found = top["neighbours"]
    if isinstance(found, str):
        for key in ("bank", "leaks"):
            if top[key] is not None:
                raise InputError(
                    f"{path}: '{key}' says how neighbours are to be found, but 'neighbours' is an "
                    f"LMDB that has them, {found}: expected no '{key}'"
                )
        return None, found
    if top["bank"] is None:
        raise InputError(f"{path} lacks the key 'bank': expected {_SECTION.expected}")
    bank = _section(top["bank"], _BANK, f"{path}, section 'bank'")
    neighbours = _section(found, _NEIGHBOURS, f"{path}, section 'neighbours'")
    for section in (bank, neighbours):
        section["options"] = _words(section["options"], path)
    if (bank["name"] == "alexnet") != (bank["weights"] is not None):
        raise InputError(
            f"{path}, section 'bank': 'weights' are AlexNet's, which the alexnet bank needs and "
            f"others do without, got {bank['weights']!r} for {bank['name']}"
        )
    return bank, neighbours


def option_values(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the words that follow one of the options `names`; `words`: of an Experiment."""
    return [value for name, value in zip(words, words[1:]) if name in names]


def _words(options: str, where: str) -> list[str]:
    """Return the words of `options`, an option and its value apart also where '=' joins them."""
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise InputError(
            f"{where}: {options!r} cannot be split into words as a shell does: {error}"
        ) from None
    return [part for word in words for part in _apart(word)]


def _apart(word: str) -> list[str]:
    """Return an option and its value of a word such as --k0=20; any other as it is."""
    name, _, value = word.partition("=")
    if name.startswith("--") and value and not value.startswith("-"):
        return [name, value]
    return [word]


def _convert_words(options: str, where: str) -> list[str]:
    words = _words(options, where)
    if len(words) < 2 or any(word.startswith("-") for word in words[:2]):
        raise InputError(
            f"{where}: expected after 'convert' the kind of set, then its place, then options, as "
            f"in 'folder photos/train --resize 256', got {options!r}"
        )
    return words


def _section(given: Any, spec: Mapping[str, Param], where: str) -> Section:
    """Return every key of `spec` with its value, given or default."""
    if not isinstance(given, dict):
        raise InputError(f"{where} holds no keys: expected {', '.join(spec)}")
    for key in given:
        if key not in spec:
            hint = did_you_mean(str(key), spec) or f"; the keys are {', '.join(spec)}"
            raise InputError(f"{where} has the unknown key {key!r}{hint}")
    for key, param in spec.items():
        if key not in given and param.default is REQUIRED:
            raise InputError(f"{where} lacks the key '{key}': expected {param.kind.expected}")
        if key in given and not param.kind.accepts(given[key]):
            raise InputError(
                f"{where}: '{key}' must be {param.kind.expected}, got {given[key]!r}"
                f"{_number_hint(given[key], param.kind)}"
            )
    return {key: given.get(key, param.default) for key, param in spec.items()}


def _number_hint(value: Any, kind: Kind) -> str:
    """Say how a text that is meant for a number is written so that YAML reads one."""
    if not isinstance(value, str) or not kind.accepts(1):
        return ""
    match = re.fullmatch(r"([\d.]+(?:[eE][-+]?\d+)?)\s*(.*)", value)
    try:
        meant = float(match.group(1)) if match else None
    except ValueError:
        meant = None
    if match is None or meant is None:
        return ""
    if match.group(2):
        return ", with a unit: write the number alone, as in 10000"
    plain = f"{meant:.12f}".rstrip("0").rstrip(".")
    return f", which YAML takes for text: write {plain}"
