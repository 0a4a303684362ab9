"""A picture file into the digit network's input: the steps that `[model.preprocessing]` of `digits` names, in f32 or wider.

1. grey      g = (2126 R + 7152 G + 722 B) / 10000 rounded down, 0..255; a grey file is taken as it is. Alpha is dropped.
2. border    b = mean of g over the outermost ring of pixels, each once. If b > 127.5: g = 255 - g and b = 255 - b.
3. stretch   v = (g - b) / (max g - b); where v < 0.15: v = 0. If max g - b < 16 there is no digit: the input is all zeros.
4. box       the smallest rectangle that holds every v > 0, `wide` x `high` pixels; k = max(wide, high) / 20 source pixels to one of the input.
5. centre    (cx, cy) = centre of mass of v, pixel (i, j) counting at (i + 0.5, j + 0.5).
6. resize    input pixel (x, y) of 28x28 is the mean of v over the source rectangle from cx + (x - 14) k to cx + (x - 13) k, and
             the same in y: pixels cut by an edge count by the part inside; outside the picture v is 0.
7. stretch   divide by the largest value, so that the brightest pixel is 1.
"""

import numpy as np
from PIL import Image

SIZE, BOX, CUT, FAINT = 28, 20, 0.15, 16


def grey(path):
    picture = Image.open(path)
    if picture.mode == "L":
        return np.asarray(picture, np.float64)
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), np.int64), 2, 0)
    return ((2126 * red + 7152 * green + 722 * blue) // 10_000).astype(np.float64)


def shares(count, centre, k):
    """[28, count]: how much of each source pixel lies under each input pixel, along one axis."""
    start = centre + (np.arange(SIZE) - SIZE / 2)[:, None] * k
    pixel = np.arange(count)[None, :]
    inside = np.minimum(start + k, pixel + 1) - np.maximum(start, pixel)
    return np.maximum(inside, 0) / k


def to_input(g):
    """Grey [high, wide] in 0..255 to f32 [1,28,28] in 0..1, a bright digit on black."""
    ring = np.concatenate([g[0], g[-1], g[1:-1, 0], g[1:-1, -1]])
    if ring.mean() > 127.5:
        g, ring = 255 - g, 255 - ring
    b = ring.mean()
    if g.max() - b < FAINT:
        return np.zeros((1, SIZE, SIZE), np.float32)
    v = (g - b) / (g.max() - b)
    v[v < CUT] = 0
    rows, columns = np.flatnonzero(v.any(1)), np.flatnonzero(v.any(0))
    k = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    k = k / BOX
    cy = (v.sum(1) * (np.arange(len(v)) + 0.5)).sum() / v.sum()
    cx = (v.sum(0) * (np.arange(v.shape[1]) + 0.5)).sum() / v.sum()
    out = shares(v.shape[0], cy, k) @ v @ shares(v.shape[1], cx, k).T
    return (out / out.max()).astype(np.float32)[None]


def load(path):
    return to_input(grey(path))
