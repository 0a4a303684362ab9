"""The masks that torch.nn.utils.prune makes, for the tests of `compress`: tests/data/prune_masks.txt.

Weights follow from a seed by counting (the tests count the same), so that only the masks are kept: of each, a bit for every
weight, in hexadecimal. A line is `AMOUNT NAME MASK …`, with several names where all weights were pruned together. Needs torch and
numpy.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import prune

FILE = Path(__file__).parents[1] / "data" / "prune_masks.txt"
# ResNet-18's first convolution, one of ResNet-20's, a matrix, and numbers of weights of which a half is none.
SHAPES = {"conv1": (64, 3, 7, 7), "conv": (16, 3, 3, 3), "fc": (10, 64), "odd": (5, 3, 3)}


def weights(shape, seed):
    state, values = seed, []
    for _ in range(int(np.prod(shape))):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append(np.float32((state >> 40) / 2**23 - 1))
    return torch.tensor(np.array(values, np.float32).reshape(shape))


def packed(mask):
    return np.packbits(mask.numpy().astype(bool).reshape(-1)).tobytes().hex()


def holder(shape, seed):
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(weights(shape, seed))
    return module


def no_tie(values, gone):
    """What torch does with equal magnitudes at the border is not promised: there must be none."""
    ordered = np.sort(np.abs(values))
    return gone in (0, len(ordered)) or ordered[gone - 1] < ordered[gone]


def main():
    cases = []
    for seed, (name, shape) in enumerate(SHAPES.items(), 1):
        for amount in (0.3, 0.5, 0.7):
            module = holder(shape, seed)
            values = module.weight.detach().numpy().reshape(-1)
            assert no_tie(values, round(amount * values.size))
            prune.l1_unstructured(module, "weight", amount=amount)
            cases.append([str(amount), name, packed(module.weight_mask)])
    for amount in (0.3, 0.5, 0.7):
        modules = [holder(shape, seed) for seed, shape in enumerate(SHAPES.values(), 1)]
        values = np.concatenate([m.weight.detach().numpy().reshape(-1) for m in modules])
        assert no_tie(values, round(amount * values.size))
        pairs = [(module, "weight") for module in modules]
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=amount)
        masks = zip(SHAPES, (packed(module.weight_mask) for module in modules))
        cases.append([str(amount), *(word for pair in masks for word in pair)])
    FILE.write_text("".join(" ".join(case) + "\n" for case in cases))


if __name__ == "__main__":
    main()
