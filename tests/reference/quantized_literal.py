"""A quantized model as the ONNX definition says, node by node in f64, beside ONNX Runtime without optimizations.

    quantized_literal.py MODEL.onnx INPUTS.npz...

Of each input it prints the correlation of the logits and where the first integers differ. Tensors between nodes are f32, as the
definition has them; what a node computes inside is f64. docs/performance.md says what comes of it for mobilenetv2_int8_qdq.
Needs numpy, onnx and onnxruntime; takes models of QuantizeLinear, DequantizeLinear, Conv, Add, GlobalAveragePool, Flatten and
Gemm, of one image.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


def stored(values):
    return values.astype(np.float32).astype(np.float64)


def quantized(x, scale, zero):
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(stored(x / np.float64(scale))) + zero, limits.min, limits.max).astype(zero.dtype)


def dequantized(x, scale, zero=np.int8(0), axis=1):
    shape = [1] * x.ndim
    if np.size(scale) > 1:
        shape[axis] = -1
        scale = scale.reshape(shape)
        zero = np.reshape(zero, shape) if np.size(zero) > 1 else zero
    return stored((x.astype(np.float64) - np.float64(zero)) * scale.astype(np.float64))


def convolved(x, w, bias=0.0, group=1, strides=(1, 1), pads=(0, 0, 0, 0), **_):
    x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    (rows, columns), (high, wide) = w.shape[2:], strides
    down, across = (x.shape[2] - rows) // high + 1, (x.shape[3] - columns) // wide + 1
    taps = [(r, c, x[:, :, r : r + high * down : high, c : c + wide * across : wide]) for r in range(rows) for c in range(columns)]
    if group == 1:
        y = sum(np.tensordot(w[:, :, r, c], part[0], 1) for r, c, part in taps)[None]
    else:
        y = sum(w[:, 0, r, c][None, :, None, None] * part for r, c, part in taps)
    return stored(y + np.reshape(bias, (1, -1, 1, 1)))


def literal(model, given):
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer} | given
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs = [values[name] for name in node.input]
        y = {
            "Constant": lambda **_: numpy_helper.to_array(attributes["value"]),
            "QuantizeLinear": quantized,
            "DequantizeLinear": dequantized,
            "Conv": convolved,
            "Add": lambda a, b: stored(a + b),
            "GlobalAveragePool": lambda x: stored(x.mean((2, 3), keepdims=True)),
            "Flatten": lambda x, **_: x.reshape(x.shape[0], -1),
            "Gemm": lambda a, b, c=0.0, transB=0, **_: stored(a @ (b.T if transB else b) + c),
        }[node.op_type](*inputs, **attributes)
        values[node.output[0]] = y
    return values


def main(path, *files):
    model = onnx.load(path)
    output = model.graph.output[0].name
    integers = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    observed = onnx.ModelProto.FromString(model.SerializeToString())
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in integers)
    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for file in files:
        arrays = np.load(file)
        given = {i.name: arrays["in:" + i.name if "in:" + i.name in arrays else i.name] for i in session.get_inputs()}
        run = dict(zip([o.name for o in session.get_outputs()], session.run(None, given)))
        own = literal(model, given)
        print(file, "correlation", np.corrcoef(run[output].ravel(), own[output].ravel())[0, 1])
        differ = [(name, int((run[name] != own[name]).sum()), run[name].size) for name in integers if name in own]
        for name, count, of in [entry for entry in differ if entry[1]][:4]:
            print(f"    {name}: {count} of {of}")


if __name__ == "__main__":
    main(*sys.argv[1:])
