"""The layers that nets name: ``python_param { module: "sjft.layers" layer: "JointDataLayer" }``.

Every ``param_str`` is one line of JSON. Unknown keys, missing ones and wrong types are errors. The
classes only translate: what they do stands in sjft/batches.py, prefetch.py and losses.py.
"""

from __future__ import annotations

from typing import Any

import caffe
from sjft.batches import JointBatches, TargetBatches
from sjft.data_layer import DataLayer, rank_and_ranks
from sjft.errors import InputError
from sjft.layer_params import parse_joint_data, parse_multi_task_loss, parse_target_data
from sjft.layer_tools import blobs, reported
from sjft.log import say
from sjft.losses import as_labels, as_scores, softmax_loss, task_weights


class JointDataLayer(DataLayer):
    """Batches of target images and their source neighbours, for the TRAIN phase.

    Tops (float32; N = batch_size, colours in the order BGR):
      data            N x 3 x crop x crop, mean subtracted: N/2 target images, then N/2 source images,
                      image N/2 + j being a neighbour of image j
      target labels   N/2, as in the target LMDB, from 0
      source labels   N/2, renumbered 0..n-1 over the n source classes that take part
      target indices  N/2, positions in the target LMDB; may be left out

    Keys of ``param_str`` (type, unit; default):
      target                string: target image LMDB; or list of strings: stored versions of the same
                            images, of which one is drawn at random each time; required
      source                string: source image LMDB; required
      neighbours            string: neighbour LMDB that 'sjft retrieve' wrote for the two; required
      batch_size            even integer, images; 18
      k0                    integer: neighbours in use per target image at level 1; 100
      levels                string: levels file, or null for level 1 everywhere; null. One that states
                            the number of neighbours of every image overrides k0
      min_source_per_class  integer, images: source classes with fewer selected images are dropped; 0
      max_per_class         integer, images of one target class in a batch, or null for no limit; 2
      resize                integer up to 16384, pixels: warp images to this square; null
      resize_shorter        integer, or [smallest, largest], pixels: scale the shorter side to this
                            length, drawn at random from the range for every image; null.
                            With neither, images keep their stored size
      crop                  integer, pixels: side of the square cut out at random; 224
      mirror                boolean: mirror half of the images; true
      mean                  list of 3 numbers, BGR, 0..255; [104, 117, 123]
      seed                  integer from 0; 1. The same seed gives the same batches, whatever the
                            number of workers
      workers               integer: processes that make batches ahead; 0 makes them in forward; null:
                            one less than the cores, from 1 to 16; with several GPUs each one's
                            share of them
      prefetch              integer up to 128: batches made ahead; null: 2 * workers + 2, at most 128
      prefetch_mb           integer, MiB: bound on the memory of batches made ahead, which lowers
                            prefetch if need be; 512
      timeout_s             number, seconds to wait for a batch before the worker that makes it is
                            replaced; after three in turn training stops; 60
      on_bad_image          "error": an image that cannot be decoded, or is smaller than the crop,
                            stops training; "replace": another pair takes the place of its pair,
                            always the same one: a target image of the same class with a neighbour
                            of its own. "error"
      max_bad_images        integer: with "replace", different images that may be bad before
                            training stops; each is named in the log once; 100
      report_every          integer, batches between two lines in the log about the share of time that
                            training waited for data; 0 for none; 500

    JPEGs much larger than needed are decoded at 1/2, 1/4 or 1/8 of their size, never so small that
    they would be enlarged again.

    Each process of a run on several GPUs gets its own share of every epoch, by caffe.solver_rank().
    A run resumed by ``caffe train -snapshot`` or ``sjft train`` goes on with the very batch that
    would have come next: see sjft/resume.py.

    Example::

        layer {
          name: "data" type: "Python"
          top: "data" top: "target_label" top: "source_label"
          include { phase: TRAIN }
          python_param {
            module: "sjft.layers" layer: "JointDataLayer"
            param_str: '{"target": "data/target_train_lmdb", "source": "data/source_lmdb", "neighbours": "data/neighbors_lmdb", "batch_size": 18, "k0": 100, "resize": 256, "crop": 224, "seed": 1}'
          }
        }
    """  # noqa: E501

    def setup(self, bottom: Any, top: Any) -> None:
        """Parse ``param_str``, open the LMDBs, select the source set, start the workers."""
        with reported(self):
            if self.phase == caffe.TEST:
                raise InputError(
                    "its batches are random, so it serves the TRAIN phase only: add include "
                    "{ phase: TRAIN }, and a TargetDataLayer for the TEST phase"
                )
            rank, ranks = rank_and_ranks()
            params = parse_joint_data(self.param_str, ranks)
            self.open(bottom, top, JointBatches(params, rank, ranks), params.prefetch)


class TargetDataLayer(DataLayer):
    """Batches of one image LMDB.

    In the TEST phase: records in key order from the first, central crop, from the first again after
    the last; nothing is random. In the TRAIN phase (fine-tuning without a source): shuffled epochs,
    random crop, mirror.

    Tops (float32; N = batch_size): data, N x 3 x crop x crop, BGR, mean subtracted; labels, N.

    Keys of ``param_str`` (type, unit; default):
      target          string: image LMDB; required
      batch_size      integer, images; 10
      resize          integer, pixels: warp images to this square; null
      resize_shorter  integer, pixels: scale the shorter side to this length; in the TRAIN phase also
                      [smallest, largest], drawn at random for every image; null.
                      With neither, images keep their stored size
      crop            integer, pixels: side of the square cut out; 224
      mean            list of 3 numbers, BGR, 0..255; [104, 117, 123]
      mirror          boolean: mirror half of the images; true. TRAIN phase only
      seed            integer from 0; 1. TRAIN phase only
      on_bad_image    "error" or "replace", here by an image of the same class; "error". TRAIN only
      max_bad_images  integer: as for JointDataLayer; 100. TRAIN phase only
      workers, prefetch, prefetch_mb, timeout_s, report_every (TRAIN phase): as for JointDataLayer

    Example::

        layer {
          name: "data" type: "Python"
          top: "data" top: "target_label"
          include { phase: TEST }
          python_param {
            module: "sjft.layers" layer: "TargetDataLayer"
            param_str: '{"target": "data/target_test_lmdb", "batch_size": 10, "resize_shorter": 256, "crop": 224}'
          }
        }
    """  # noqa: E501

    def setup(self, bottom: Any, top: Any) -> None:
        """Parse ``param_str``, open the LMDB, start the workers."""
        with reported(self):
            rank, ranks = rank_and_ranks()
            params = parse_target_data(self.param_str, self.phase == caffe.TRAIN, ranks)
            self.open(bottom, top, TargetBatches(params, rank, ranks), params.prefetch)


class MultiTaskLossLayer(caffe.Layer):
    """Weighted sum of softmax losses, one per pair of bottoms (scores, labels).

    Bottoms: scores of task 1, N x C or N x C x 1 x 1, labels of task 1, N; the same for task 2; and
    so on. N and C may differ between tasks. Tops: the weighted sum; and, if wanted, the loss of
    every task, unweighted. Each task's loss is that of SoftmaxWithLoss with its default
    normalisation.

    Caffe trains on a top of a Python layer only if the net says so: give ``loss_weight: 1`` for the
    total, and 0 for each task's top if there are any.

    Keys of ``param_str`` (type; default):
      weights       list of numbers from 0, one per task; null: equal shares of 1 (0.5 each for two)
      ignore_label  integer: images with this label count neither in the loss nor in its mean; or
                    null: every label must be a class; null

    Example::

        layer {
          name: "loss" type: "Python"
          bottom: "target_score" bottom: "target_label"
          bottom: "source_score" bottom: "source_label"
          top: "loss" top: "target_loss" top: "source_loss"
          loss_weight: 1 loss_weight: 0 loss_weight: 0
          python_param {
            module: "sjft.layers" layer: "MultiTaskLossLayer" param_str: '{"weights": [0.5, 0.5]}'
          }
        }
    """

    def setup(self, bottom: Any, top: Any) -> None:
        """Parse ``param_str`` and check the number of bottoms and tops."""
        with reported(self):
            params = parse_multi_task_loss(self.param_str)
            if len(bottom) < 2 or len(bottom) % 2:
                raise InputError(
                    f"expected pairs of bottoms (scores, labels), got {len(bottom)} bottoms"
                )
            tasks = len(bottom) // 2
            if len(top) not in (1, 1 + tasks):
                raise InputError(
                    f"expected 1 top (the total) or {1 + tasks} tops (the total and the loss of "
                    f"each of the {tasks} tasks), got {len(top)}"
                )
            self._weights = task_weights(params.weights, tasks)
            self._ignore_label = params.ignore_label
            self._warned = self.phase != caffe.TRAIN

    def reshape(self, bottom: Any, top: Any) -> None:
        """Make every top a single number."""
        for blob in blobs(top):
            blob.reshape(1)

    def forward(self, bottom: Any, top: Any) -> None:
        """Compute the losses, and keep the gradients for backward."""
        self._warn_of_no_loss_weight(top)
        self._gradients = []
        total = 0.0
        with reported(self):
            for task, weight in enumerate(self._weights):
                scores = as_scores(bottom[2 * task].data, f"the scores of task {task + 1}")
                labels = as_labels(
                    bottom[2 * task + 1].data,
                    scores.shape,
                    self._ignore_label,
                    f"the label blob of task {task + 1}",
                )
                loss, gradient = softmax_loss(scores, labels, self._ignore_label)
                self._gradients.append(gradient)
                total += weight * loss
                if len(top) > 1:
                    top[1 + task].data[...] = loss
        top[0].data[...] = total

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Write the gradients of the scores; labels have none."""
        for task, (weight, gradient) in enumerate(zip(self._weights, self._gradients)):
            factor = weight * float(top[0].diff.flat[0])
            if len(top) > 1:
                factor += float(top[1 + task].diff.flat[0])
            if propagate_down[2 * task]:
                blob = bottom[2 * task]
                blob.diff[...] = (factor * gradient).reshape(blob.diff.shape)
            if propagate_down[2 * task + 1]:
                bottom[2 * task + 1].diff[...] = 0

    def _warn_of_no_loss_weight(self, top: Any) -> None:
        """Say once if Caffe, which keeps loss weights in the tops' diffs, will train on nothing."""
        if not self._warned and not any(blob.diff.flat[0] for blob in blobs(top)):
            say(
                "MultiTaskLossLayer: no top has a loss weight: unless another layer uses them, "
                "nothing is trained; add loss_weight: 1 for the first top"
            )
        self._warned = True
