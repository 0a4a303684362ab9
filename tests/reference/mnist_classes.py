"""ONNX Runtime's class of each of the first 1,000 t10k digits under mnist-8 (input: the pixel values 0..255 as float).

    python3 tests/reference/mnist_classes.py --model ../shared/models/mnist-8.onnx --data ../shared/datasets/mnist

Writes one string of 1,000 figures, so that a test can compare digit by digit, and the places where the first class leads
the second by less than 0.05 in logits, where another order of summation might turn the answer.
"""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the two t10k files")
    parser.add_argument("--out", type=Path, default=Path("tests/data/mnist8_first1000.json"))
    args = parser.parse_args()
    with gzip.open(args.data / "t10k-images-idx3-ubyte.gz") as f:
        pictures = np.frombuffer(f.read(16 + 1_000 * 784), np.uint8, offset=16).reshape(1_000, 1, 1, 28, 28)
    with gzip.open(args.data / "t10k-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(8 + 1_000), np.uint8, offset=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    logits = np.stack([session.run(None, {"Input3": picture.astype(np.float32)})[0][0] for picture in pictures])
    classes = logits.argmax(1)
    ordered = np.sort(logits, 1)
    margin = ordered[:, -1] - ordered[:, -2]
    result = {
        "model": "mnist-8",
        "right": int((classes == labels).sum()),
        "smallest_margin": round(float(margin.min()), 4),
        "close": [int(i) for i in np.flatnonzero(margin < 0.05)],
        "classes": "".join(map(str, classes)),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print({key: value for key, value in result.items() if key != "classes"})


if __name__ == "__main__":
    main()
