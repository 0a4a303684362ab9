"""Weights in a file of ONNX: in 32 bits, or in 8 behind a DequantizeLinear with a scale for each output channel."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def weight(nodes, weights, name, value, axis=None):
    """Adds a weight in 32 bits, or in 8 with scales along `axis`; gives the name under which it is read."""
    value = np.ascontiguousarray(value, np.float32)
    if axis is None:
        weights.append(numpy_helper.from_array(value, name))
        return name
    others = tuple(i for i in range(value.ndim) if i != axis)
    scale = np.maximum(np.abs(value).max(others, keepdims=True), 1e-12) / np.float32(127)
    weights.append(numpy_helper.from_array(np.round(value / scale).astype(np.int8), f"{name}_q"))
    weights.append(numpy_helper.from_array(scale.ravel().astype(np.float32), f"{name}_scale"))
    nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_scale"], [name], axis=axis))
    return name


def dequantized(path):
    """What a file's 8-bit weights stand for, by name."""
    graph = onnx.load(path).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {}
    for name, value in held.items():
        if value.dtype != np.int8:
            continue
        name = name.removesuffix("_q")
        scale = held[f"{name}_scale"]
        axis = next((node.attribute[0].i for node in graph.node if node.output[0] == name), None)
        if axis is not None:
            scale = scale.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        found[name] = value.astype(np.float32) * scale
    return found
