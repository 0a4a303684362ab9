"""Reads the ten drawn digits with the embedded network under ONNX Runtime and keeps four of them with the answers.

    python3 tests/reference/digits_io.py

Writes `tests/data/digits.io.npz`: `in:image` [4,1,28,28], the pictures of 2, 4, 7 and 9 as the network gets them, and
`out:probabilities` [4,10]; ONNX Runtime on the CPU, graph optimizations disabled.
Ends with an error where one of the ten is taken for another digit.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models/train"))
sys.dont_write_bytecode = True
import picture  # noqa: E402

KEPT = [2, 4, 7, 9]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/digits.io.npz")
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(ROOT / "models/digits.onnx", options, providers=["CPUExecutionProvider"])
    images = np.stack([picture.load(ROOT / f"models/images/digit_{digit}.png") for digit in range(10)])
    found = session.run(None, {"image": images})[0]
    for digit, row in enumerate(found):
        print(f"digit_{digit}.png: {row.argmax()} with {row.max():.4f}")
    assert (found.argmax(1) == np.arange(10)).all()
    kept = images[KEPT]
    answers = session.run(None, {"image": kept})[0]
    np.savez_compressed(args.out, **{"in:image": kept, "out:probabilities": answers})
    print(f"{args.out.name}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
