"""sjft: the part of selective joint fine-tuning that Caffe loads at training time.

Nets name it as ``python_param { module: "sjft.layers" layer: "JointDataLayer" ... }``.
Everything but :mod:`sjft.layers` imports without Caffe.
"""

__version__ = "0.1.0"
