"""Scores files: every image's scores, bound to the LMDB that they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sjft import __version__
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.checksums import file_checksum
from sjft_tools.npz import npz_problem

FORMAT = "sjft scores 1"


class Scores(NamedTuple):
    """The scores of all images of an LMDB.

    `scores`: float32 N x C, probabilities; `labels`: int32 (N,); `class_names`: one per label, or
    empty; `path`, `fingerprint`: of the LMDB; `models`: what computed them, JSON values of
    describe_model, several if they were fused.
    """

    scores: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    path: str
    fingerprint: str
    models: list[dict[str, Any]]


def describe_model(
    deploy: str, weights: str, output: str, protocol: dict[str, Any]
) -> dict[str, Any]:
    """Return what decides a model's scores: its files with their checksums, blob and protocol."""
    return {
        "deploy": deploy,
        "deploy_checksum": file_checksum(deploy),
        "weights": weights,
        "weights_checksum": file_checksum(weights),
        "output": output,
        **protocol,
    }


def scores_of(images: ImageLmdb, scores: np.ndarray, models: list[dict[str, Any]]) -> Scores:
    """Return `scores`, float32 N x C, with what belongs to them."""
    labels = np.array(images.labels, np.int32)
    return Scores(scores, labels, images.class_names, images.path, images.fingerprint, models)


def write_scores(file: str, scores: Scores) -> None:
    """Write a scores file; equal scores make equal bytes."""
    info = {
        "format": FORMAT,
        "test_lmdb": scores.path,
        "test_fingerprint": scores.fingerprint,
        "class_names": scores.class_names,
        "models": scores.models,
        "written_by": f"sjft {__version__}",
    }
    text = np.array(json.dumps(info, ensure_ascii=False, sort_keys=True))
    with open(file, "wb") as stream:
        np.savez(stream, info=text, scores=scores.scores, labels=scores.labels)


def read_scores(path: str) -> Scores:
    """Read a scores file. Raises InputError if it is missing, damaged, or none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            info = json.loads(str(stored["info"]))
            scores, labels = stored["scores"], stored["labels"]
    except FileNotFoundError:
        raise InputError(
            f"the scores file {path} does not exist: expected what 'sjft evaluate --scores' wrote"
        ) from None
    except Exception as error:
        # A broken zip file surfaces as one of many exception types.
        reason = npz_problem(path, error)
        raise InputError(f"{path} cannot be read as a scores file: {reason}") from None
    found = info.get("format") if isinstance(info, dict) else None
    if found != FORMAT:
        raise InputError(f"{path} is not a scores file: format {found!r}, expected {FORMAT!r}")
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise InputError(
            f"{path} holds scores of shape {scores.shape} and labels of shape {labels.shape}: "
            f"expected a file that sjft wrote, unchanged"
        )
    if not np.isfinite(scores).all():
        raise InputError(f"{path} holds scores that are not finite: expected probabilities")
    return Scores(
        scores,
        labels,
        info["class_names"],
        info["test_lmdb"],
        info["test_fingerprint"],
        info["models"],
    )


def fuse(files: Sequence[str]) -> Scores:
    """Return the mean of the scores in `files`, of every model alike.

    Raises InputError if they are of different images, different numbers of classes, or if a model
    occurs twice.
    """
    first = read_scores(files[0])
    sums = np.zeros(first.scores.shape)
    models: list[dict[str, Any]] = []
    for path in files:
        part = read_scores(path)
        if part.fingerprint != first.fingerprint:
            raise InputError(
                f"{path} holds scores of other images than {files[0]} ({part.path} and "
                f"{first.path}, whose fingerprints differ): expected the same LMDB"
            )
        if part.scores.shape != first.scores.shape:
            raise InputError(
                f"{path} holds scores of {part.scores.shape[1]} classes and {files[0]} of "
                f"{first.scores.shape[1]}: expected models of the same task"
            )
        for model in part.models:
            if _identity(model) in map(_identity, models):
                raise InputError(
                    f"{path} holds the scores of {model['weights']} once more, shown in the same "
                    f"way: expected every model once"
                )
            models.append(model)
        sums += len(part.models) * part.scores.astype(np.float64)
    fused = (sums / len(models)).astype(np.float32)
    return first._replace(scores=fused, models=models)


def _identity(model: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key not in ("deploy", "weights")}
