"""ONNX Runtime's classes for the photographs, for tests to compare with.

    python3 tests/reference/classify_photos.py --models ../shared/models --images ../shared/images

Preprocessing, the same for both models but for the crop and the arithmetic after it:
- decode with Pillow, convert to RGB (a grey picture gets three equal channels), 8 bit;
- resize so that the short side is 256: the long side is 256 * long / short, rounded to the nearest whole number (half up);
  Pillow's `Image.resize(..., BILINEAR)` on the 8-bit RGB picture: a triangle filter widened by the factor of reduction
  (so antialiased), across, then down, rounded to 8 bit after each;
- centre crop: left = (wide - crop) / 2 rounded down, top likewise;
- mobilenetv2_fp32: crop 224, RGB, (v / 255 - mean) / std; squeezenet1.0: crop 227, BGR, v - mean.

`margin` is the lead of the first class over the second in logits (for squeezenet1.0, which ends in a Softmax, the
difference of the logarithms of the probabilities, which is the same number).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

MODELS = {
    "mobilenetv2_fp32": dict(crop=224, order="rgb", scale=1 / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], softmax=False),
    "squeezenet1.0": dict(crop=227, order="bgr", scale=1.0, mean=[104, 117, 123], std=[1, 1, 1], softmax=True),
}
PHOTOS = [
    "camera.png", "cat.jpg", "chelsea.png", "coffee.png", "goldfish.jpg", "grace_hopper.jpg",
    "horse-cart.jpg", "hot_dog.jpg", "pelican.jpeg", "rocket.jpg", "street.jpg", "wolves.jpg",
]


def to_input(picture, how):
    picture = picture.convert("RGB")
    wide, high = picture.size
    short = min(wide, high)
    size = [(2 * 256 * side + short) // (2 * short) for side in (wide, high)]
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - how["crop"]) // 2, (size[1] - how["crop"]) // 2
    picture = picture.crop((left, top, left + how["crop"], top + how["crop"]))
    pixels = np.asarray(picture, np.float32)
    if how["order"] == "bgr":
        pixels = pixels[:, :, ::-1]
    pixels = (pixels * np.float32(how["scale"]) - np.float32(how["mean"])) / np.float32(how["std"])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("tests/data/photo_classes.json"))
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    found = {}
    for model, how in MODELS.items():
        session = onnxruntime.InferenceSession(args.models / f"{model}.onnx", options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        found[model] = {}
        for photo in PHOTOS:
            out = session.run(None, {name: to_input(Image.open(args.images / photo), how)})[0][0].astype(np.float64)
            logits = np.log(np.maximum(out, 1e-30)) if how["softmax"] else out
            share = np.exp(logits - logits.max())
            share /= share.sum()
            top = np.argsort(-logits, kind="stable")[:5]
            found[model][photo] = {
                "top1": int(top[0]),
                "prob": round(float(share[top[0]]), 4),
                "top5": [int(i) for i in top],
                "margin": round(float(logits[top[0]] - logits[top[1]]), 3),
            }
    models = []
    for model, photos in found.items():
        rows = ",\n".join(f"    {json.dumps(photo)}: {json.dumps(row)}" for photo, row in photos.items())
        models.append(f"  {json.dumps(model)}: {{\n{rows}\n  }}")
    args.out.write_text("{\n" + ",\n".join(models) + "\n}\n")
    print(f"{args.out.name}: {sum(len(photos) for photos in found.values())} rows")


if __name__ == "__main__":
    main()
