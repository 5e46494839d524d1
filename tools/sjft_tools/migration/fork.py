"""Caffe's messages with the fields that the authors' fork adds to LayerParameter.

Source: caffe.proto and the layers' prototxt files of the fork. Only names and types matter for
text; the fork's numbers are kept where they are known.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from sjft_tools.pycaffe import caffe_messages

_INT, _FLOAT, _DOUBLE, _STRING = "int", "float", "double", "string"

#: LayerParameter's field -> its number and message; the message's fields -> type, * for repeated.
_PARAMS: dict[str, tuple[int, str, dict[str, str]]] = {
    "feature_stats_param": (
        201,
        "FeatureStatisticsParameter",
        {
            "feature_statistics_path": _STRING,
            "previous_statistics_path": _STRING,
            "new_feature_statistics_path": _STRING,
            "scales": _INT,
            "num": _INT + "*",
            "channels": _INT + "*",
            "height": _INT + "*",
            "width": _INT + "*",
            "total_channels": _INT,
            "saving_signal": _INT,
            "bin": _INT,
        },
    ),
    "knn_match_param": (
        202,
        "KnnMatchParameter",
        {
            "sample_num": _INT,
            "feature_num": _INT,
            "dim": _INT,
            "nodes_num": _INT,
            "orientation": _INT,
            "scale": _INT,
            "bin": _INT,
            "iterations": _INT,
            "feature_path": _STRING,
            "image_retrieval_result": _STRING,
            "channel_weight_path": _STRING,
        },
    ),
    "boosted_joint_training_data_param": (
        203,
        "BoostedJointTrainingDataParameter",
        {
            "source_domain_image_label_path": _STRING,
            "target_domain_image_label_path": _STRING,
            "source_domain_sample_num": _INT,
            "source_domain_class_num": _INT,
            "target_domain_sample_num": _INT,
            "target_domain_class_num": _INT,
            "target_domain_sample_weight_path": _STRING,
            "target_nn_configuration_path": _STRING,
            "target_domain_train_num": _INT,
            "target_domain_val_num": _INT,
            "target_nn_in_source_num": _INT,
            "base_selected_nn_num": _INT,
            "target_val_label_path": _STRING,
            "target_domain_train_val_num": _INT,
            "highest_sample_level": _INT,
            "least_sample_per_class": _INT,
        },
    ),
    "hist_feature_param": (
        204,
        "HistFeatureParameter",
        {
            "feature_statistics_path": _STRING,
            "scales": _INT,
            "total_channels": _INT,
            "bin": _INT,
            "feature_path": _STRING,
            "channel_weight": _DOUBLE + "*",
            "channel_weight_path": _STRING,
        },
    ),
    "split_data_param": (205, "SplitDataParameter", {"split_num": _INT}),
    "random_crop_param": (
        206,
        "RandomCropDataParameter",
        {"lower_bound": _FLOAT, "upper_bound": _FLOAT},
    ),
}

#: What the fork takes for those of the fields above that matter here, where a net does not say.
DEFAULTS: dict[str, dict[str, Any]] = {
    "feature_stats_param": {"bin": 100},
    "knn_match_param": {"nodes_num": 100},
    "boosted_joint_training_data_param": {
        "target_domain_val_num": 1020,
        "base_selected_nn_num": 1000,
        "highest_sample_level": 5,
        "least_sample_per_class": 50,
    },
    "hist_feature_param": {"bin": 32},
    "split_data_param": {"split_num": 100},
    "random_crop_param": {"lower_bound": 256, "upper_bound": 480},
}


def fork_params(layer: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields of a layer's message `name`, one of DEFAULTS, with the fork's defaults."""
    return {**DEFAULTS[name], **layer.get(name, {})}


def fork_net() -> Any:
    """An empty NetParameter that knows the fork's fields too, in a pool beside Caffe's."""
    field = descriptor_pb2.FieldDescriptorProto
    kinds = {
        _INT: field.TYPE_INT32,
        _FLOAT: field.TYPE_FLOAT,
        _DOUBLE: field.TYPE_DOUBLE,
        _STRING: field.TYPE_STRING,
    }
    file = descriptor_pb2.FileDescriptorProto()
    caffe_messages().DESCRIPTOR.CopyToProto(file)
    [layer] = [message for message in file.message_type if message.name == "LayerParameter"]
    for name, (number, message_name, fields) in _PARAMS.items():
        layer.field.add(
            name=name,
            number=number,
            type=field.TYPE_MESSAGE,
            label=field.LABEL_OPTIONAL,
            type_name=f".{file.package}.{message_name}",
        )
        message = file.message_type.add(name=message_name)
        for i, (inner, kind) in enumerate(fields.items(), 1):
            label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            message.field.add(name=inner, number=i, type=kinds[kind.rstrip("*")], label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"{file.package}.NetParameter")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)()
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)()
