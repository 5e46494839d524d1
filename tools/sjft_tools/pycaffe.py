"""Importing pycaffe without its start-up chatter, and with a remedy when it cannot be imported."""

from __future__ import annotations

import importlib
import os
from typing import Any

from sjft.errors import InputError

_LOG_LEVEL = "GLOG_minloglevel"


def import_caffe() -> Any:
    """Return the module ``caffe``. Raises InputError if pycaffe cannot be imported.

    glog's information lines are silenced unless the user has set GLOG_minloglevel.
    """
    chatty = _LOG_LEVEL not in os.environ
    if chatty:
        os.environ[_LOG_LEVEL] = "1"
    try:
        caffe = importlib.import_module("caffe")
        if getattr(caffe, "__file__", None) is None:
            raise ImportError(f"{next(iter(caffe.__path__))} is a folder of that name, no package")
        return caffe
    except ImportError as error:
        raise InputError(
            f"pycaffe cannot be imported ({error}): put it on PYTHONPATH, as '. ./env.sh' does"
        ) from None
    finally:
        if chatty:
            # glog reads it once, at the import; a `caffe train` started later must not inherit it.
            del os.environ[_LOG_LEVEL]


def caffe_messages() -> Any:
    """Return the module of Caffe's own messages. Raises InputError as import_caffe does."""
    import_caffe()
    from caffe.proto import caffe_pb2

    return caffe_pb2
