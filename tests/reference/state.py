"""Runs recurrent models over 200 frames under ONNX Runtime, the state passed through the host, and keeps what they say.

    python3 tests/reference/state.py --models ../shared/models

Writes `tests/data/state.npz`, for each model NAME: `NAME.whole` [5, n], the output of frames 0, 49, 99, 149 and 199;
`NAME.each` [200], of frame i the output's number i mod n; `NAME.state`, the state after the last. The input is noise, number k
of frame i being `noise(i · length + k)`; of `dtln_model_1`, which takes magnitudes, without its sign.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 200
WHOLE = [0, 49, 99, 149, 199]
# Name, input, length, output, state in, state out.
MODELS = [
    ("silero_vad_16k", "input", (1, 576), "output", "state", "stateN"),
    ("dtln_model_1", "input_2", (1, 1, 257), "activation_2", "input_3", "tf_op_layer_stack_2"),
    ("dtln_model_2", "input_4", (1, 1, 512), "conv1d_3", "input_5", "tf_op_layer_stack_5"),
]


def noise(numbers):
    hashed = (numbers.astype(np.uint64) * 2_654_435_761) % 2**32
    return ((hashed >> 8).astype(np.float32) / np.float32(2**23) - np.float32(1)).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/state.npz")
    args = parser.parse_args()
    kept = {}
    for name, x, shape, y, state_in, state_out in MODELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(args.models / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        state_shape = next(i.shape for i in session.get_inputs() if i.name == state_in)
        state = np.zeros(state_shape, np.float32)
        length = int(np.prod(shape))
        outputs = []
        for frame in range(FRAMES):
            values = noise(np.arange(frame * length, (frame + 1) * length)).reshape(shape)
            values = np.abs(values) if name == "dtln_model_1" else values
            output, state = session.run([y, state_out], {x: values, state_in: state})
            outputs.append(output.ravel())
        outputs = np.stack(outputs)
        kept[f"{name}.whole"] = outputs[WHOLE]
        kept[f"{name}.each"] = np.array([row[i % len(row)] for i, row in enumerate(outputs)], np.float32)
        kept[f"{name}.state"] = state
        print(name, outputs.shape, float(np.abs(outputs).max()), float(outputs.std()), float(np.abs(state).max()))
    np.savez_compressed(args.out, **kept)


if __name__ == "__main__":
    main()
