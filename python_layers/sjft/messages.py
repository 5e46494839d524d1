"""Caffe's Datum message without Caffe.

Worker processes and offline tools read and write Datum records. Importing ``caffe.proto`` would
load the whole of libcaffe into each of them, so the message is declared here in a descriptor pool
of its own: the bytes are those of caffe.proto's, and both can live in one process.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto

# name, number, type, label: as in caffe.proto (BVLC 1.0)
_DATUM_FIELDS = (
    ("channels", 1, _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
    ("height", 2, _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
    ("width", 3, _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
    ("data", 4, _FIELD.TYPE_BYTES, _FIELD.LABEL_OPTIONAL),
    ("label", 5, _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
    ("float_data", 6, _FIELD.TYPE_FLOAT, _FIELD.LABEL_REPEATED),
    ("encoded", 7, _FIELD.TYPE_BOOL, _FIELD.LABEL_OPTIONAL),
)


def _datum_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="sjft/datum.proto", package="caffe", syntax="proto2"
    )
    message = file.message_type.add(name="Datum")
    for field, number, kind, label in _DATUM_FIELDS:
        message.field.add(name=field, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("caffe.Datum")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # protobuf before 4.22
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


#: The message class: ``Datum(channels=3, height=H, width=W, data=b"...", label=0)``.
Datum: Any = _datum_class()
