"""Draws `models/images/digit_0.png` to `digit_9.png`: strokes of our own, like a scanned pen or a touch screen.

    python3 models/train/draw_digits.py --out models/images

Each digit is one or two strokes through a few points (a smooth curve runs through them), with a shaky hand, a nib whose
width changes, and a slight blur. Seeded: a second run writes the same pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FINE = 8  # the drawing is made this many times larger, then shrunk

# Points in a box one unit high, y downwards. A stroke that is given as "line" keeps its corners.
STROKES = {
    0: [("curve", [(0.55, 0.04), (0.26, 0.14), (0.12, 0.50), (0.24, 0.90), (0.50, 0.96), (0.72, 0.78), (0.78, 0.44), (0.66, 0.12), (0.46, 0.03)])],
    1: [("line", [(0.45, 0.13), (0.58, 0.02), (0.47, 0.98)])],
    2: [("curve", [(0.14, 0.26), (0.26, 0.07), (0.52, 0.02), (0.70, 0.18), (0.66, 0.40), (0.42, 0.68), (0.14, 0.92)]),
        ("line", [(0.14, 0.92), (0.48, 0.90), (0.82, 0.94)])],
    3: [("curve", [(0.16, 0.14), (0.40, 0.02), (0.66, 0.14), (0.60, 0.38), (0.36, 0.47)]),
        ("curve", [(0.36, 0.47), (0.68, 0.56), (0.74, 0.80), (0.46, 0.98), (0.12, 0.86)])],
    4: [("line", [(0.36, 0.04), (0.12, 0.56), (0.80, 0.54)]), ("line", [(0.64, 0.24), (0.58, 0.98)])],
    5: [("line", [(0.74, 0.04), (0.28, 0.06), (0.22, 0.44)]),
        ("curve", [(0.22, 0.44), (0.46, 0.36), (0.72, 0.52), (0.72, 0.80), (0.44, 0.98), (0.12, 0.88)])],
    6: [("curve", [(0.66, 0.03), (0.36, 0.22), (0.17, 0.60), (0.26, 0.92), (0.52, 0.97), (0.72, 0.78), (0.62, 0.56), (0.40, 0.54), (0.22, 0.74)])],
    7: [("line", [(0.12, 0.10), (0.46, 0.08), (0.80, 0.06), (0.58, 0.46), (0.42, 0.98)])],
    8: [("curve", [(0.66, 0.16), (0.46, 0.03), (0.24, 0.16), (0.32, 0.40), (0.58, 0.58), (0.70, 0.80), (0.46, 0.98), (0.20, 0.82),
                   (0.34, 0.56), (0.58, 0.40), (0.69, 0.20), (0.58, 0.06)])],
    9: [("curve", [(0.68, 0.20), (0.48, 0.04), (0.24, 0.16), (0.22, 0.42), (0.44, 0.50), (0.66, 0.34), (0.69, 0.18)]),
        ("curve", [(0.69, 0.18), (0.66, 0.46), (0.62, 0.72), (0.52, 0.98)])],
}

# size, the digit's height and upper left corner (parts of the size's height), nib (part of the digit's height), paper, ink
PAGES = {
    0: dict(size=(96, 96), tall=0.60, at=(0.22, 0.20), nib=0.085, paper=(244, 238, 222), ink=(28, 44, 120)),
    1: dict(size=(28, 28), tall=0.70, at=(0.16, 0.15), nib=0.120, paper=(0,), ink=(255,)),
    2: dict(size=(96, 96), tall=0.55, at=(0.14, 0.30), nib=0.080, paper=(236,), ink=(40,)),
    3: dict(size=(28, 28), tall=0.70, at=(0.20, 0.15), nib=0.110, paper=(0,), ink=(255,)),
    4: dict(size=(96, 96), tall=0.66, at=(0.20, 0.16), nib=0.070, paper=(226, 232, 236), ink=(140, 30, 36)),
    5: dict(size=(28, 28), tall=0.60, at=(0.06, 0.06), nib=0.120, paper=(0,), ink=(235,)),
    6: dict(size=(128, 80), tall=0.62, at=(0.62, 0.22), nib=0.075, paper=(248,), ink=(16,)),
    7: dict(size=(28, 28), tall=0.68, at=(0.18, 0.16), nib=0.110, paper=(0,), ink=(255,)),
    8: dict(size=(96, 96), tall=0.68, at=(0.24, 0.14), nib=0.065, paper=(205,), ink=(60,)),
    9: dict(size=(64, 64), tall=0.66, at=(0.26, 0.18), nib=0.090, paper=(38,), ink=(225,)),
}


def smooth(points, steps=40):
    """A Catmull-Rom curve through the points."""
    p = np.array([points[0], *points, points[-1]], float)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:]):
        parts.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate([*parts, p[-1:]])


def straight(points, steps=40):
    p = np.array(points, float)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    return np.concatenate([*(a + t * (b - a) for a, b in zip(p, p[1:])), p[-1:]])


def wander(rng, count, reach):
    """A slow random walk about nothing: the shake of a hand."""
    knots = rng.normal(0, reach, count // 25 + 3)
    return np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)


def draw(digit, rng):
    page = PAGES[digit]
    wide, high = page["size"]
    unit = page["tall"] * high * FINE
    left, top = page["at"][0] * high * FINE, page["at"][1] * high * FINE
    ink = Image.new("L", (wide * FINE, high * FINE), 0)
    pen = ImageDraw.Draw(ink)
    for kind, points in STROKES[digit]:
        points = np.array(points) + rng.normal(0, 0.008, (len(points), 2))
        points[0], points[-1] = np.round(points[0], 2), np.round(points[-1], 2)  # strokes that meet keep meeting
        path = smooth(points) if kind == "curve" else straight(points)
        path = path + np.stack([wander(rng, len(path), 0.006) for _ in "xy"], 1)
        nib = page["nib"] * (1 + wander(rng, len(path), 0.12))
        for (x, y), d in zip(path, nib):
            x, y, r = left + x * unit, top + y * unit, d * unit / 2
            pen.ellipse([x - r, y - r, x + r, y + r], fill=255)
    ink = ink.filter(ImageFilter.GaussianBlur(0.45 * FINE)).resize((wide, high), Image.Resampling.BOX)
    share = np.asarray(ink, float)[:, :, None] / 255
    paper, colour = np.array(page["paper"], float), np.array(page["ink"], float)
    grain = rng.integers(-1, 2, (high, wide, 1)) if paper.max() else 0
    pixels = np.clip(np.rint(paper * (1 - share) + colour * share) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models/images"))
    args = parser.parse_args()
    for digit in range(10):
        path = args.out / f"digit_{digit}.png"
        draw(digit, np.random.default_rng(100 + digit)).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
