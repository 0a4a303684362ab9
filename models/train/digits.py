"""Trains the embedded digit network and writes it as ONNX.

    python3 models/train/digits.py --data ../shared/datasets/mnist --out models/digits.onnx

The folder holds `t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz` (10,000 labelled digits).
- test: every tenth digit (index % 10 == 0), 1,000 in all, read only by `judge`, once, at the very end;
- validation: 900 of the other 9,000, drawn with a seed; the number of epochs is chosen on it;
- then the network is trained anew on all 9,000 with that number, and that network is written.
"""

import argparse
import gzip
import hashlib
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import nn

SEED = 20261122
EPOCHS = (15, 30, 45)  # the candidates; each is a whole run, since the learning rate falls to nothing over it
BATCH = 64
RATE = 3e-3
DECAY = 0.02


def read_digits(folder):
    """The pictures as u8 [10000,28,28] and their labels."""
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as f:
        pictures = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    assert len(pictures) == len(labels) == 10_000
    return pictures, labels


def tensors(pictures, labels, index):
    images = torch.from_numpy(pictures[index].astype(np.float32) / 255).unsqueeze(1)
    return images, torch.from_numpy(labels[index].astype(np.int64))


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.dense1 = nn.Linear(64 * 3 * 3, 64)
        self.dense2 = nn.Linear(64, 10)
        self.drop = nn.Dropout(0.3)  # while training only

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x)).flatten(1)
        x = F.relu(self.dense1(self.drop(x)))
        return self.dense2(x)


def vary(images, dice):
    """Turns, shifts, stretches and slants each picture a little, and makes some strokes thinner or thicker."""
    n = len(images)

    def between(low, high):
        return torch.rand(n, generator=dice) * (high - low) + low

    angle = between(-15, 15).deg2rad()
    slant = between(-0.2, 0.2)
    wide, high = between(0.85, 1.15), between(0.85, 1.15)
    cos, sin = angle.cos(), angle.sin()
    # rows of the map from the new picture's coordinates (-1..1) to the old one's
    theta = torch.stack(
        [
            torch.stack([cos / wide, (slant * cos - sin) / high, between(-2, 2) / 14], 1),
            torch.stack([sin / wide, (slant * sin + cos) / high, between(-2, 2) / 14], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, align_corners=False)
    thick = F.max_pool2d(images, 3, 1, 1)
    thin = -F.max_pool2d(-images, 3, 1, 1)
    share = between(-0.4, 0.6).view(-1, 1, 1, 1)
    return images + share.clamp(min=0) * (thick - images) + (-share).clamp(min=0) * (thin - images)


def train(images, labels, epochs, watch=None):
    """One whole run from the seed; `watch` is (images, labels) to print accuracy on now and then."""
    torch.manual_seed(SEED)
    dice = torch.Generator().manual_seed(SEED)
    network = Digits()
    steps = epochs * ((len(images) + BATCH - 1) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        start, network_loss = time.time(), 0.0
        network.train()
        order = torch.randperm(len(images), generator=dice)
        for batch in order.split(BATCH):
            loss = F.cross_entropy(network(vary(images[batch], dice)), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            network_loss += loss.item() * len(batch)
        if epoch % 5 == 4 or epoch + 1 == epochs:
            seen = "" if watch is None else f", validation {accuracy(network, *watch):.2%}"
            print(f"  epoch {epoch + 1}/{epochs}: loss {network_loss / len(images):.4f}{seen}, {time.time() - start:.1f} s", flush=True)
    return network.eval()


def accuracy(network, images, labels):
    network.eval()
    with torch.no_grad():
        guess = torch.cat([network(part).argmax(1) for part in images.split(500)])
    return (guess == labels).float().mean().item()


def export(network, path):
    """Writes the graph node by node, so that its names can be read."""
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}

    def conv(name, source):
        weights = [f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Conv", [source, *weights], [name], name, kernel_shape=[3, 3])

    def relu(name):
        return helper.make_node("Relu", [name], [f"{name}.relu"], f"{name}.relu")

    def pool(name, source):
        return helper.make_node("MaxPool", [source], [name], name, kernel_shape=[2, 2], strides=[2, 2])

    def dense(name, source):
        weights = [f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Gemm", [source, *weights], [name], name, transB=1)

    nodes = [
        conv("conv1", "image"), relu("conv1"), pool("pool1", "conv1.relu"),
        conv("conv2", "pool1"), relu("conv2"), pool("pool2", "conv2.relu"),
        conv("conv3", "pool2"), relu("conv3"),
        helper.make_node("Flatten", ["conv3.relu"], ["flat"], "flat", axis=1),
        dense("dense1", "flat"), relu("dense1"),
        dense("dense2", "dense1.relu"),
        helper.make_node("Softmax", ["dense2"], ["probabilities"], "probabilities", axis=1),
    ]
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, value.shape, value.astype("<f4").tobytes(), raw=True)
        for name, value in state.items()
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "digits", [image], [probabilities], weights)
    model = helper.make_model(
        graph, producer_name="rimlight", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def judge(network, path, pictures, labels):
    """The only place that reads the test digits."""
    images, right = tensors(pictures, labels, np.arange(0, 10_000, 10))
    assert len(images) == 1_000
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": images.numpy()})[0]
    with torch.no_grad():
        expected = network(images).softmax(1).numpy()
    apart = np.abs(got - expected).max()
    assert apart < 1e-5, apart
    wrong = np.flatnonzero(got.argmax(1) != right.numpy())
    print(f"test, 1,000 unseen digits: torch {accuracy(network, images, right):.2%}, onnxruntime {1 - len(wrong) / 1_000:.2%}")
    print(f"largest difference between onnxruntime and torch: {apart:.1e}")
    print("wrong:", ", ".join(f"#{i * 10} ({right[i]} taken for {got[i].argmax()})" for i in wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the two t10k files")
    parser.add_argument("--out", type=Path, default=Path("models/digits.onnx"))
    parser.add_argument("--choose-only", action="store_true", help="stop after validation: reads no test digit")
    args = parser.parse_args()
    torch.set_num_threads(1)  # so that a second run gives the same bits
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}, seed {SEED}")

    pictures, labels = read_digits(args.data)
    usable = np.flatnonzero(np.arange(10_000) % 10 != 0)
    shuffled = np.random.default_rng(SEED).permutation(usable)
    watched = tensors(pictures, labels, shuffled[:900])
    learned = tensors(pictures, labels, shuffled[900:])
    found = {}
    for epochs in EPOCHS:
        print(f"{epochs} epochs on 8,100 digits")
        found[epochs] = accuracy(train(*learned, epochs, watched), *watched)
    best = max(found, key=lambda epochs: (found[epochs], -epochs))
    print("validation, 900 digits:", ", ".join(f"{epochs} epochs {share:.2%}" for epochs, share in found.items()))
    print(f"chosen: {best} epochs")
    if args.choose_only:
        return

    print(f"{best} epochs on all 9,000 digits")
    network = train(*tensors(pictures, labels, usable), best)
    export(network, args.out)
    judge(network, args.out, pictures, labels)
    content = args.out.read_bytes()
    print(f"{args.out.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
