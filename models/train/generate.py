"""Trains a small language model on text messages, byte by byte, and writes it as ONNX.

    python3 models/train/generate.py --data SMSSpamCollection.tsv

The file is the UCI SMS Spam Collection. The model is a decoder of four layers of 128: RMSNorm, rotary embeddings, a gated
MLP, weights shared by the first and the last layer. Written are `models/messages.onnx`: 8-bit weights behind
DequantizeLinear, inputs and outputs named as Hugging Face's exports name them, keys and values of the past among them; and
for tests the 200 bytes that ONNX Runtime finds likeliest (`examples/generate/greedy.json`) and what it answers to noise
(`tests/data/messages.io.npz`, `messages.second.io.npz`).

A tenth of the messages, drawn with a seed, is kept out to say how well the next byte is foretold.
"""

import argparse
import hashlib
import html
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from quantize import dequantized, weight

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
BYTES, WIDTH, LAYERS, HEADS, INNER = 256, 128, 4, 4, 352
HEAD = WIDTH // HEADS
BASE = 10_000.0
EPSILON = 1e-6
CONTEXT, BATCH, STEPS, RATE = 160, 12, 2600, 3e-3


def read_messages(path):
    """Messages, each once, as bytes; a newline ends each. Long numbers become zeros: no telephone number is learnt."""
    texts = (line.split("\t", 1)[1] for line in path.read_text(encoding="utf-8").splitlines()[1:])
    texts = (re.sub(r"\d{5,}", lambda n: "0" * len(n[0]), html.unescape(text)) for text in texts)
    texts = (re.sub(r"\s+", " ", text).strip().replace("<#>", "00") for text in texts)
    return [text.encode() + b"\n" for text in dict.fromkeys(texts) if text]


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * self.weight


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = Norm(), Norm()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x, cos, sin, drop):
        b, s, _ = x.shape
        h = self.norm1(x)
        q, k, v = (of(h).view(b, s, HEADS, HEAD).transpose(1, 2) for of in (self.q, self.k, self.v))
        q, k = q * cos + half_turned(q) * sin, k * cos + half_turned(k) * sin
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, WIDTH)
        x = x + drop(self.o(h))
        h = self.norm2(x)
        return x + drop(self.down(F.silu(self.gate(h)) * self.up(h)))


def half_turned(x):
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)


def frequencies():
    return BASE ** (-np.arange(0, HEAD, 2) / HEAD)


class Messages(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(BYTES, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = Norm()
        self.drop = nn.Dropout(0.1)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                last = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 if not last else 0.02 / math.sqrt(2 * LAYERS))

    def forward(self, x):
        angles = torch.outer(torch.arange(x.shape[1]), torch.from_numpy(frequencies())).repeat(1, 2).float()
        cos, sin = angles.cos(), angles.sin()
        x = self.drop(self.embedding(x))
        for layer in self.layers:
            x = layer(x, cos, sin, self.drop)
        return self.norm(x) @ self.embedding.weight.T


def train(messages, kept):
    torch.manual_seed(SEED)
    network = Messages()
    print(f"{sum(p.numel() for p in network.parameters())} numbers")
    decayed = [p for p in network.parameters() if p.dim() == 2]
    plain = [p for p in network.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    start, total = time.time(), 0.0
    stream = torch.empty(0, dtype=torch.long)
    for step in range(STEPS):
        # All messages in an order, again and again in another.
        if len(stream) < BATCH * CONTEXT + 1:
            order = torch.randperm(len(messages)).tolist()
            more = b"\n" + b"".join(messages[i] for i in order)
            stream = torch.cat([stream, torch.frombuffer(bytearray(more), dtype=torch.uint8).long()])
        part, stream = stream[: BATCH * CONTEXT + 1], stream[BATCH * CONTEXT :]
        x, y = part[:-1].view(BATCH, CONTEXT), part[1:].view(BATCH, CONTEXT)
        loss = F.cross_entropy(network(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 99:
            seen = f"{bits(network, kept):.3f}" if step % 500 == 499 or step + 1 == STEPS else "-"
            print(f"  step {step + 1}/{STEPS}: {total / 100 / math.log(2):.3f} bits a byte, kept out {seen}, {time.time() - start:.0f} s", flush=True)
            total = 0.0
            network.train()
    return network.eval()


def rows(messages):
    """What is kept out, in whole rows: bytes and those that follow them."""
    stream = torch.frombuffer(bytearray(b"\n" + b"".join(messages)), dtype=torch.uint8).long()
    n = (len(stream) - 1) // CONTEXT * CONTEXT
    return stream[:n].view(-1, CONTEXT), stream[1 : n + 1].view(-1, CONTEXT)


def bits(network, messages):
    """Bits that a byte takes, given what goes before it in its row."""
    x, y = rows(messages)
    with torch.no_grad():
        losses = [F.cross_entropy(network.eval()(a).flatten(0, 1), b.flatten()) for a, b in zip(x.split(32), y.split(32))]
        return float(np.average([loss.item() for loss in losses], weights=[len(a) for a in x.split(32)])) / math.log(2)


class Graph:
    """An ONNX graph in the making."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def __call__(self, op, inputs, output=None, **attributes):
        output = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, value, name=None):
        name = name or f"c_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def export(network, path):
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    g = Graph()
    i64 = lambda *values: g.constant(np.array(values, np.int64))
    f32 = lambda value: g.constant(np.array(value, np.float32))

    def put(name, value, axis):
        return weight(g.nodes, g.weights, name, value, axis)

    def norm(x, name):
        mean = g("ReduceMean", [g("Pow", [x, f32(2)])], axes=[-1], keepdims=1)
        root = g("Sqrt", [g("Add", [mean, f32(EPSILON)])])
        return g("Mul", [g.constant(state[name], name), g("Div", [x, root])])

    # One table: rows are looked up, and the last layer multiplies by all of them.
    table = put("embedding", state["embedding.weight"], 0)
    x = g("Gather", [table, "input_ids"])
    keys = g("Gather", [g("Shape", ["attention_mask"]), g.constant(np.array(1, np.int64))])
    keys = g("Range", [g.constant(np.array(0, np.int64)), keys, g.constant(np.array(1, np.int64))])
    before = g("LessOrEqual", [g("Unsqueeze", [keys, i64(0, 1)]), g("Unsqueeze", ["position_ids", i64(2)])])
    there = g("Unsqueeze", [g("Cast", ["attention_mask"], to=TensorProto.BOOL), i64(1)])
    seen = g("Unsqueeze", [g("And", [before, there]), i64(1)])
    mask = g("Where", [seen, f32(0), f32(np.finfo(np.float32).min)], "mask")
    places = g("Cast", [g("Unsqueeze", ["position_ids", i64(2)])], to=TensorProto.FLOAT)
    angles = g("Mul", [places, g.constant(frequencies().astype(np.float32).reshape(1, 1, -1))])
    angles = g("Unsqueeze", [g("Concat", [angles, angles], axis=-1), i64(1)])
    cos, sin = g("Cos", [angles]), g("Sin", [angles])

    def heads(x, name):
        x = g("MatMul", [x, put(name, state[f"{name}.weight"].T, 1)])
        return g("Transpose", [g("Reshape", [x, i64(0, 0, HEADS, HEAD)])], perm=[0, 2, 1, 3])

    def rotated(x):
        a = g("Slice", [x, i64(0), i64(HEAD // 2), i64(3)])
        b = g("Slice", [x, i64(HEAD // 2), i64(HEAD), i64(3)])
        turned = g("Concat", [g("Neg", [b]), a], axis=-1)
        return g("Add", [g("Mul", [x, cos]), g("Mul", [turned, sin])])

    for n in range(LAYERS):
        at = f"layers.{n}"
        h = norm(x, f"{at}.norm1.weight")
        q, k, v = rotated(heads(h, f"{at}.q")), rotated(heads(h, f"{at}.k")), heads(h, f"{at}.v")
        k = g("Concat", [f"past_key_values.{n}.key", k], f"present.{n}.key", axis=2)
        v = g("Concat", [f"past_key_values.{n}.value", v], f"present.{n}.value", axis=2)
        scores = g("MatMul", [q, g("Transpose", [k], perm=[0, 1, 3, 2])])
        scores = g("Add", [g("Mul", [scores, f32(1 / math.sqrt(HEAD))]), mask])
        h = g("MatMul", [g("Softmax", [scores], axis=-1), v])
        h = g("Reshape", [g("Transpose", [h], perm=[0, 2, 1, 3]), i64(0, 0, WIDTH)])
        x = g("Add", [x, g("MatMul", [h, put(f"{at}.o", state[f"{at}.o.weight"].T, 1)])])
        h = norm(x, f"{at}.norm2.weight")
        gate = g("MatMul", [h, put(f"{at}.gate", state[f"{at}.gate.weight"].T, 1)])
        gate = g("Mul", [gate, g("Sigmoid", [gate])])
        up = g("MatMul", [h, put(f"{at}.up", state[f"{at}.up.weight"].T, 1)])
        x = g("Add", [x, g("MatMul", [g("Mul", [gate, up]), put(f"{at}.down", state[f"{at}.down.weight"].T, 1)])])
    g("MatMul", [norm(x, "norm.weight"), g("Transpose", [table], perm=[1, 0])], "logits")

    info, integer, number = helper.make_tensor_value_info, TensorProto.INT64, TensorProto.FLOAT
    inputs = [info("input_ids", integer, ["batch_size", "sequence_length"])]
    inputs += [info("attention_mask", integer, ["batch_size", "total_sequence_length"])]
    inputs += [info("position_ids", integer, ["batch_size", "sequence_length"])]
    outputs = [info("logits", number, ["batch_size", "sequence_length", BYTES])]
    for n in range(LAYERS):
        for what in ("key", "value"):
            shape = ["batch_size", HEADS, "past_sequence_length", HEAD]
            inputs.append(info(f"past_key_values.{n}.{what}", number, shape))
            shape = ["batch_size", HEADS, "total_sequence_length", HEAD]
            outputs.append(info(f"present.{n}.{what}", number, shape))
    graph = helper.make_graph(g.nodes, "messages", inputs, outputs, g.weights)
    model = helper.make_model(graph, producer_name="rimlight", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


class Runtime:
    """The file under ONNX Runtime, the past passed through the host."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.past = [np.zeros((1, HEADS, 0, HEAD), np.float32)] * (2 * LAYERS)

    def __call__(self, given):
        done = self.past[0].shape[2]
        names = [i.name for i in self.session.get_inputs()]
        ids = np.array([list(given)], np.int64)
        places = np.arange(done, done + len(given))[None]
        mask = np.ones((1, done + len(given)), np.int64)
        logits, *self.past = self.session.run(None, dict(zip(names, [ids, mask, places, *self.past])))
        return logits[0]


def greedy(path, prompt, count):
    """The likeliest bytes after a prompt, one after the other, and how far the likeliest is before the next."""
    runtime, given, found, margins = Runtime(path), prompt, [], []
    for _ in range(count):
        logits = runtime(given)[-1]
        first, second = np.argsort(logits)[::-1][:2]
        found.append(int(first))
        margins.append(float(logits[first] - logits[second]))
        given = bytes([first])
    return bytes(found), margins


def keep_greedy(path):
    """For the example's test: the 200 likeliest bytes of messages from the first on. Rounding must not decide on any."""
    text, margins = greedy(path, b"\n", 200)
    print(f"200 bytes, the likeliest each; never nearer than {min(margins):.4f} to another:\n{text.decode()}")
    assert min(margins) > 1e-3
    out = ROOT / "examples/generate/greedy.json"
    out.write_text(json.dumps({"prompt": "\n", "text": text.decode()}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep_answers(path, folder):
    """For `tests/models.rs`: a first run without a past, and one with a past of two texts, the shorter filled up in front."""
    dice = np.random.default_rng(SEED)
    session = Runtime(path).session
    outputs = [o.name for o in session.get_outputs()]
    for name, (batch, past, new) in {"messages": (2, 5, 3), "messages.second": (1, 0, 7)}.items():
        mask = np.ones((batch, past + new), np.int64)
        mask[1:, :2] = 0
        given = {
            "input_ids": dice.integers(32, 127, (batch, new)),
            "attention_mask": mask,
            "position_ids": np.tile(np.arange(past, past + new), (batch, 1)),
        }
        given |= {i.name: dice.normal(0, 1, (batch, HEADS, past, HEAD)).astype(np.float32) for i in session.get_inputs()[3:]}
        kept = {f"in:{name}": value for name, value in given.items()}
        kept |= {f"out:{name}": value for name, value in zip(outputs, session.run(outputs, given))}
        np.savez_compressed(folder / f"{name}.io.npz", **kept)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="SMSSpamCollection.tsv")
    parser.add_argument("--out", type=Path, default=ROOT / "models/messages.onnx")
    args = parser.parse_args()
    torch.set_num_threads(1)  # so that a second run gives the same bits
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}, seed {SEED}")
    messages = read_messages(args.data)
    order = np.random.default_rng(SEED).permutation(len(messages))
    kept, learned = ([messages[i] for i in part] for part in np.split(order, [len(messages) // 10]))
    print(f"{len(learned)} messages of {sum(map(len, learned))} bytes to learn, {len(kept)} kept out")
    network = train(learned, kept)
    print(f"32 bits: {bits(network, kept):.3f} bits a byte of what was kept out")
    export(network, args.out)

    with torch.no_grad():
        for name, value in dequantized(args.out).items():
            target = network.state_dict()[f"{name}.weight"]
            target.copy_(torch.from_numpy(value if name == "embedding" else value.T))
        print(f"8 bits: {bits(network, kept):.3f} bits a byte of what was kept out")
        # The first row whole, then byte by byte.
        x = rows(kept)[0][0]
        expected = network.eval()(x[None])[0].numpy()
    whole, runtime = Runtime(args.out)(bytes(x.tolist())), Runtime(args.out)
    steps = np.concatenate([runtime(bytes([byte])) for byte in x.tolist()])
    apart = max(np.abs(whole - expected).max(), np.abs(steps - expected).max())
    print(f"torch and onnxruntime, whole and byte by byte, differ by {apart:.1e}")
    assert apart < 1e-3
    keep_greedy(args.out)
    keep_answers(args.out, ROOT / "tests/data")
    content = args.out.read_bytes()
    print(f"{args.out.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
