"""Says what ONNX Runtime and a postprocessing in numpy find in the photographs, for tests to compare with.

    python3 tests/reference/vision.py --models ../shared/models --images ../shared/images --decoded decoded

Two decoders of JPEG differ by up to 4 of 255, which moves scores by up to 0.012. That is not what is compared: `decoded` holds the
JPEG files as the library decodes them, `NAME.jpg.png`, written by `cargo run --example detect -- --threshold 1 NAME.jpg -o …`.

Writes `tests/data/vision.json`. It shares nothing with `src/vision` but the definitions:
- objects (yolox_nano): a letterbox at the top left, sides rounded down, filled with 114, Pillow's bilinear, BGR, 0 to 255; grids
  of strides 8, 16 and 32; the likeliest class of each row, from a score of 0.3 on; suppression class by class above 0.45;
- faces (version-RFB-320): stretched, (v - 127) / 128; from 0.7 on, suppression above 0.3;
- text (ch_PP-OCRv3_det): each side to the nearest multiple of 32, ImageNet's mean and deviation; pixels above 0.3 that touch
  (corners included), the rectangle of least area around their centres over angles of the hull's sides, its mean probability from 0.6 on,
  3 pixels at least, grown by area * 1.5 / perimeter on each side, 5 pixels at least;
- super_resolution: the middle 288 x 288 of a photograph made 96 x 96 by Pillow's bicubic, enlarged back; luma by the network, Cb and
  Cr by Pillow's bicubic; the signal-to-noise ratio of luma to that of the photograph, beside that of bicubic alone.
Boxes are left, top, right and bottom in the picture's pixels, each axis by its own factor. It ran with ONNX Runtime 1.32.0 and
Pillow 13.0.0.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = ["street.jpg", "horse-cart.jpg", "grace_hopper.jpg", "chelsea.png"]
FACES = ["grace_hopper.jpg", "street.jpg"]
TEXTS = ["page.png"]
ENLARGED = "coffee.png"


def iou_matrix(boxes):
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=-1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return both / np.maximum(area[:, None] + area[None, :] - both, 1e-12)


def suppress(boxes, scores, classes, threshold):
    """Indices of what is kept: a detection falls if one that is kept and surer, of its class, overlaps it."""
    order = np.argsort(-scores, kind="stable")
    overlap = (iou_matrix(boxes) > threshold) & (classes[:, None] == classes[None, :])
    alive = np.ones(len(order), bool)
    kept = []
    for index in order:
        if alive[index]:
            kept.append(index)
            alive &= ~overlap[index]
    return kept


def planar(pixels):
    return np.ascontiguousarray(np.asarray(pixels, np.float32).transpose(2, 0, 1)[None], dtype=np.float32)


def objects(session, picture):
    side = 416
    ratio = min(side / picture.width, side / picture.height)
    inner = [int(picture.width * ratio + 1e-9), int(picture.height * ratio + 1e-9)]
    canvas = np.full((side, side, 3), 114, np.uint8)
    canvas[: inner[1], : inner[0]] = np.asarray(picture.resize(inner, Image.Resampling.BILINEAR))
    (rows,) = session.run(None, {"images": planar(canvas[:, :, ::-1])})
    rows = rows[0].astype(np.float64)
    grid, strides = [], []
    for stride in (8, 16, 32):
        ys, xs = np.meshgrid(np.arange(side // stride), np.arange(side // stride), indexing="ij")
        grid.append(np.stack([xs.ravel(), ys.ravel()], axis=1))
        strides.append(np.full(xs.size, stride))
    grid, strides = np.concatenate(grid), np.concatenate(strides)[:, None]
    centre, size = (rows[:, :2] + grid) * strides, np.exp(rows[:, 2:4]) * strides
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    scores = rows[:, 4:5] * rows[:, 5:]
    classes, best = scores.argmax(axis=1), scores.max(axis=1)
    sure = np.flatnonzero(best >= 0.3)
    kept = sure[suppress(boxes[sure], best[sure], classes[sure], 0.45)]
    factor = np.array([picture.width / inner[0], picture.height / inner[1]] * 2)
    limit = np.array([picture.width, picture.height] * 2)
    boxes = np.clip(boxes * factor, 0, limit)
    return [dict(box=boxes[i], score=best[i], **{"class": int(classes[i])}) for i in kept]


def faces(session, picture):
    resized = np.asarray(picture.resize((320, 240), Image.Resampling.BILINEAR), np.float32)
    scores, boxes = session.run(["scores", "boxes"], {"input": planar((resized - 127) / 128)})
    scores, boxes = scores[0, :, 1].astype(np.float64), boxes[0].astype(np.float64)
    sure = np.flatnonzero(scores >= 0.7)
    kept = sure[suppress(boxes[sure], scores[sure], np.zeros(len(sure)), 0.3)]
    limit = np.array([picture.width, picture.height] * 2)
    boxes = np.clip(boxes * limit, 0, limit)
    return [dict(box=boxes[i], score=scores[i], **{"class": 0}) for i in kept]


def labelled(mask):
    """Components by spreading the smallest number among neighbours until nothing changes."""
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), mask.size + 1)
    while True:
        padded = np.pad(numbers, 1, constant_values=mask.size + 1)
        shifted = [padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(3) for x in range(3)]
        spread = np.where(mask, np.min(shifted, axis=0), mask.size + 1)
        if np.array_equal(spread, numbers):
            return [np.argwhere(numbers == n) for n in np.unique(numbers[mask])]
        numbers = spread


def least_rectangle(points):
    """Corners and sides of the rectangle of least area: an edge of the hull is a pair of points with all others on one side."""
    x, y = points[:, 1].astype(np.float64), points[:, 0].astype(np.float64)
    best = None
    # Hull edges by gift wrapping.
    hull, at = [], int(np.lexsort((y, x))[0])
    while at not in hull:
        hull.append(at)
        dx, dy = x - x[at], y - y[at]
        nxt = next(i for i in range(len(x)) if i != at)
        for i in range(len(x)):
            turn = dx[nxt] * dy[i] - dy[nxt] * dx[i]
            if turn < 0 or (turn == 0 and dx[i] ** 2 + dy[i] ** 2 > dx[nxt] ** 2 + dy[nxt] ** 2):
                nxt = i
        at = nxt
    for a, b in zip(hull, hull[1:] + hull[:1]):
        angle = np.arctan2(y[b] - y[a], x[b] - x[a])
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        area = np.ptp(u) * np.ptp(v)
        if best is None or area < best[0] - 1e-9:
            best = (area, angle, u.min(), u.max(), v.min(), v.max())
    return best[1:]


def texts(session, picture):
    size = [max(32, 32 * int(np.floor(side / 32 + 0.5))) for side in picture.size]
    resized = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    normal = (resized - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    (chart,) = session.run(None, {"x": planar(normal)})
    chart = chart[0, 0].astype(np.float64)
    ys, xs = np.mgrid[: chart.shape[0], : chart.shape[1]]
    found = []
    for points in labelled(chart > 0.3):
        if len(points) < 3:
            continue
        angle, left, right, top, bottom = least_rectangle(points)
        if min(right - left, bottom - top) < 3:
            continue
        u, v = xs * np.cos(angle) + ys * np.sin(angle), ys * np.cos(angle) - xs * np.sin(angle)
        near = 1e-3
        inside = (u >= left - near) & (u <= right + near) & (v >= top - near) & (v <= bottom + near)
        score = chart[inside].mean()
        by = (right - left) * (bottom - top) * 1.5 / (2 * (right - left + bottom - top))
        left, right, top, bottom = left - by, right + by, top - by, bottom + by
        if score < 0.6 or min(right - left, bottom - top) < 5:
            continue
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        corners = [(u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)) for u, v in corners]
        factor = np.array([picture.width / chart.shape[1], picture.height / chart.shape[0]])
        corners = np.array(corners) * factor
        first = int(corners.sum(axis=1).argmin())
        found.append(dict(corners=np.roll(corners, -first, axis=0), score=score))
    return found


def enlarged(session, picture):
    left, top = (picture.width - 288) // 2, (picture.height - 288) // 2
    whole = picture.crop((left, top, left + 288, top + 288))
    small = whole.resize((96, 96), Image.Resampling.BICUBIC)
    # Not Pillow's own YCbCr, which cuts fractions off and is too dark by 1 to 2.
    pixels = np.asarray(small, np.float64)
    luma = np.round(pixels @ [0.299, 0.587, 0.114])
    (large,) = session.run(None, {"input": (luma / 255).astype(np.float32)[None, None]})
    larger = lambda plane: np.asarray(Image.fromarray(np.uint8(plane)).resize((288, 288), Image.Resampling.BICUBIC), np.float64) - 128
    blue = larger(np.round(128 + pixels @ [-0.168736, -0.331264, 0.5]))
    red = larger(np.round(128 + pixels @ [0.5, -0.418688, -0.081312]))
    parts = np.stack([1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue], axis=-1)
    merged = np.clip(np.round(large[0, 0][:, :, None] * 255.0 + parts), 0, 255)
    bicubic = np.asarray(small.resize((288, 288), Image.Resampling.BICUBIC), np.float64)
    truth = np.asarray(whole, np.float64) @ [0.299, 0.587, 0.114]
    # Of what is shown: colours that there are none of are not.
    ratio = lambda picture: 10 * np.log10(255**2 / np.mean((picture @ [0.299, 0.587, 0.114] - truth) ** 2))
    # Means of 4 x 4 parts of 72 pixels, of each colour.
    means = merged.reshape(4, 72, 4, 72, 3).mean(axis=(1, 3)).reshape(-1)
    return dict(decibels=ratio(merged), bicubic=ratio(bicubic), means=means)


def written(value):
    if isinstance(value, dict):
        return {name: written(value) for name, value in value.items()}
    if isinstance(value, np.ndarray):
        return np.round(value, 2).tolist()
    return round(float(value), 4) if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--decoded", type=Path, required=True)
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    open_model = lambda name: onnxruntime.InferenceSession(args.models / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

    def open_picture(name):
        file = args.decoded / f"{name}.png" if name.endswith(".jpg") else args.images / name
        return Image.open(file).convert("RGB")

    tasks = [("yolox_nano", objects, OBJECTS), ("version-RFB-320", faces, FACES), ("ch_PP-OCRv3_det", texts, TEXTS)]
    lines = []
    for model, find, pictures in tasks:
        session = open_model(model)
        rows = []
        for picture in pictures:
            found = ",\n".join(f"      {json.dumps(written(row))}" for row in find(session, open_picture(picture)))
            rows.append(f"    {json.dumps(picture)}: [\n{found}\n    ]")
        lines.append(f"  {json.dumps(model)}: {{\n" + ",\n".join(rows) + "\n  }")
    row = json.dumps(written(enlarged(open_model("super_resolution"), open_picture(ENLARGED))))
    lines.append(f'  "super_resolution": {{\n    {json.dumps(ENLARGED)}: {row}\n  }}')
    (ROOT / "tests/data/vision.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
