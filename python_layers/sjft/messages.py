"""The messages of Caffe that the layers read, without Caffe.

Worker processes and offline tools read and write Datum records. Importing ``caffe.proto`` would
load the whole of libcaffe into each of them, so the messages are declared here in a descriptor pool
of their own: the bytes are those of caffe.proto's, and both can live in one process.
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


# what decides how many batches a solver takes in an iteration and in a test
_SOLVER_FIELDS = (
    ("test_iter", 3, _FIELD.TYPE_INT32, _FIELD.LABEL_REPEATED),
    ("test_interval", 4, _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
    ("test_initialization", 32, _FIELD.TYPE_BOOL, _FIELD.LABEL_OPTIONAL),
    ("iter_size", 36, _FIELD.TYPE_INT32, _FIELD.LABEL_OPTIONAL),
)


def _message_class(name: str, fields: tuple[tuple[str, int, Any, Any], ...]) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"sjft/{name.lower()}.proto", package="caffe", syntax="proto2"
    )
    message = file.message_type.add(name=name)
    for field, number, kind, label in fields:
        message.field.add(name=field, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"caffe.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # protobuf before 4.22
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


#: The message class: ``Datum(channels=3, height=H, width=W, data=b"...", label=0)``.
Datum: Any = _message_class("Datum", _DATUM_FIELDS)

#: The few fields of a SolverParameter named above; its text holds many more.
SolverParameter: Any = _message_class("SolverParameter", _SOLVER_FIELDS)
