"""Trains the recurrent network that tells spam from other text messages, and writes it as ONNX.

    python3 models/train/spam.py --data SMSSpamCollection.tsv

The file is the UCI SMS Spam Collection: a label, a tab and a message to each line, one line of headings. Written are
`models/spam.onnx`, its vocabulary `models/spam_words.txt`, and for tests what ONNX Runtime answers to a few messages
(`examples/spam/expected.json`, `tests/data/spam.io.npz`). `--ten-classes` writes the same network with ten classes and seeded random weights to
`tests/data/ten_classes.onnx`, and what ONNX Runtime answers to random tokens.

Messages that say the same (after `tokens`) are one message, so that none is on both sides. A fifth of them, drawn with a
seed, is the test: it is read only by `judge`, once, at the very end. Of the others a tenth is for validation while epochs
are chosen; then the network is trained anew on all of them.
"""

import argparse
import collections
import hashlib
import html
import json
import re
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import nn

from quantize import dequantized, weight

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
WORDS = 10_000  # rows of the embedding; 0 is padding, 1 a word that is not known
WIDTH = 64
LENGTH = 100  # tokens; shorter messages are padded in front, of longer ones the end counts
EPOCHS = (8, 12)
BATCH = 64
RATE = 2e-3
WEIGHTS = (1.0, 3.0)  # ham and spam: seven of eight messages are ham

TOKEN = re.compile(r"[^\W0-9_]+(?:'[^\W0-9_]+)*|[0-9]+|[^\w\s]|_")


def read_messages(path):
    """Texts, their tokens, and whether they are spam; those that say the same only once."""
    messages = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        label, text = line.split("\t", 1)
        assert label in ("ham", "spam"), label
        # Whoever collected the ham put <#> for numbers; a message on a phone has none of that.
        text = html.unescape(text).replace("<#>", "00")
        messages.setdefault(tuple(tokens(text)), (text, label == "spam"))
    texts, spam = zip(*messages.values())
    return texts, list(messages), np.array(spam)


def tokens(text):
    """Words in lower case, numbers as so many zeros, and every other sign by itself."""
    return ["0" * min(len(t), 12) if t[0] in "0123456789" else t for t in TOKEN.findall(text.lower().replace("’", "'"))]


def vocabulary(messages):
    """Words by how often they are said, the alphabet where that is the same."""
    counts = collections.Counter(word for message in messages for word in message)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: 2 + i for i, word in enumerate(ordered[: WORDS - 2])}


def numbers(messages, words):
    """int64 [messages, LENGTH]"""
    rows = np.zeros((len(messages), LENGTH), np.int64)
    for row, message in zip(rows, messages):
        known = [words.get(word, 1) for word in message[-LENGTH:]]
        if known:
            row[-len(known) :] = known
    return torch.from_numpy(rows)


class Spam(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.rnn1 = nn.RNN(WIDTH, WIDTH, batch_first=True)
        self.rnn2 = nn.RNN(WIDTH, WIDTH, batch_first=True)
        self.dense1 = nn.Linear(WIDTH, WIDTH)
        self.dense2 = nn.Linear(WIDTH, classes)
        self.drop = nn.Dropout(0.4)  # while training only
        nn.init.normal_(self.embedding.weight, std=0.1)
        for rnn in (self.rnn1, self.rnn2):
            nn.init.orthogonal_(rnn.weight_hh_l0)

    def forward(self, x):
        x, _ = self.rnn1(self.drop(self.embedding(x)))
        x, _ = self.rnn2(self.drop(x))
        x = F.relu(self.dense1(self.drop(x[:, -1])))
        return self.dense2(x)


def train(x, spam, epochs, watch=None):
    """One whole run from the seed; `watch` is (numbers, labels) to print the F1 of now and then."""
    torch.manual_seed(SEED)
    network = Spam()
    steps = epochs * ((len(x) + BATCH - 1) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    labels, weights = torch.from_numpy(spam.astype(np.int64)), torch.tensor(WEIGHTS)
    for epoch in range(epochs):
        start, total = time.time(), 0.0
        network.train()
        for batch in torch.randperm(len(x)).split(BATCH):
            # One word in ten is not known, as in messages to come.
            seen = torch.where((x[batch] > 1) & (torch.rand(x[batch].shape) < 0.1), 1, x[batch])
            loss = F.cross_entropy(network(seen), labels[batch], weights, label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        if epoch % 4 == 3:
            seen = "" if watch is None else f", validation {report(answers(network, watch[0]), watch[1])}"
            print(f"  epoch {epoch + 1}/{epochs}: loss {total / len(x):.4f}{seen}, {time.time() - start:.1f} s", flush=True)
    # What no message has is nothing.
    unused = torch.ones(WORDS, dtype=bool)
    unused[x.unique()] = False
    unused[1] = False
    with torch.no_grad():
        network.embedding.weight[unused] = 0
    return network.eval()


def answers(network, x):
    with torch.no_grad():
        return network.eval()(x).softmax(1).numpy()


def measures(probabilities, spam):
    """F1, precision, recall of spam."""
    said = probabilities[:, 1] >= 0.5
    right = (said & spam).sum()
    precision, recall = right / max(said.sum(), 1), right / spam.sum()
    return 2 * precision * recall / max(precision + recall, 1e-9), precision, recall


def report(probabilities, spam):
    f1, precision, recall = measures(probabilities, spam)
    return f"F1 {f1:.4f} (precision {precision:.4f}, recall {recall:.4f})"


def export(network, path):
    """The file: the embedding's rows are looked up and scaled, all other weights are behind a DequantizeLinear."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    nodes, weights = [], []

    def put(name, value, axis=None):
        return weight(nodes, weights, name, value, axis)

    def constant(name, values):
        weights.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    # [batch, length] to [length, batch], as RNN wants it.
    nodes.append(helper.make_node("Transpose", ["tokens"], ["steps"], perm=[1, 0]))
    scale = np.abs(state["embedding.weight"]).max(1, keepdims=True).astype(np.float32) / 127
    rows = np.round(state["embedding.weight"] / np.where(scale == 0, 1, scale)).astype(np.int8)
    weights.append(onnx.numpy_helper.from_array(rows, "embedding"))
    weights.append(onnx.numpy_helper.from_array(scale, "embedding_scale"))
    nodes.append(helper.make_node("Gather", ["embedding", "steps"], ["rows"]))
    nodes.append(helper.make_node("Cast", ["rows"], ["rows_f"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Gather", ["embedding_scale", "steps"], ["scales"]))
    nodes.append(helper.make_node("Mul", ["rows_f", "scales"], ["words"]))
    x = "words"
    axis = constant("direction", [1])
    for n in (1, 2):
        w = put(f"rnn{n}_w", state[f"rnn{n}.weight_ih_l0"][None], axis=1)
        r = put(f"rnn{n}_r", state[f"rnn{n}.weight_hh_l0"][None], axis=1)
        b = put(f"rnn{n}_b", np.concatenate([state[f"rnn{n}.bias_ih_l0"], state[f"rnn{n}.bias_hh_l0"]])[None])
        outputs = [f"rnn{n}_all", f"rnn{n}_last"]
        outputs = [outputs[0], ""] if n == 1 else ["", outputs[1]]
        nodes.append(helper.make_node("RNN", [x, w, r, b], outputs, hidden_size=WIDTH))
        x = f"rnn{n}_out"
        nodes.append(helper.make_node("Squeeze", ["".join(outputs), axis if n == 1 else constant("layer", [0])], [x]))
    for n in (1, 2):
        w, b = put(f"dense{n}_w", state[f"dense{n}.weight"], axis=0), put(f"dense{n}_b", state[f"dense{n}.bias"])
        nodes.append(helper.make_node("Gemm", [x, w, b], [f"dense{n}_out"], transB=1))
        x = f"dense{n}_out"
        if n == 1:
            nodes.append(helper.make_node("Relu", [x], ["relu"]))
            x = "relu"
    nodes.append(helper.make_node("Softmax", [x], ["probabilities"], axis=-1))
    classes = len(state["dense2.bias"])
    tokens_info = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", LENGTH])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])
    graph = helper.make_graph(nodes, "spam", [tokens_info], [answer], weights)
    model = helper.make_model(graph, producer_name="rimlight", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def run(path, x):
    """What ONNX Runtime answers, computing in 32 bits as the file says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"tokens": x.numpy()})[0]


# What a message can be besides words: nothing, signs alone, long, of other alphabets.
ODD = ["", "   ", "!!!", "_don't_ 3rd '90s", "CALL 0800 00000000000000 NOW", "Zürich – ça va? ÉTÉ", "привет, 你好", "go " * 150]


def keep_answers(path, messages, words):
    """Messages, their numbers without padding, and what ONNX Runtime answers: how likely each is spam."""
    x = numbers([tokens(text) for text in messages], words)
    np.savez_compressed(ROOT / "tests/data/spam.io.npz", **{"in:tokens": x.numpy(), "out:probabilities": run(ROOT / "models/spam.onnx", x)})
    answers = run(ROOT / "models/spam.onnx", x)[:, 1]
    rows = [{"text": text, "tokens": row[row > 0].tolist(), "spam": float(p)} for text, row, p in zip(messages, x, answers)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n", encoding="utf-8")


def ten_classes(folder):
    """Random weights do for a test of the engine."""
    torch.manual_seed(SEED)
    network = Spam(10)
    with torch.no_grad():
        # So large that answers differ.
        network.embedding.weight *= 10
        network.dense1.weight *= 4
        network.dense2.weight *= 4
    export(network, folder / "ten_classes.onnx")
    x = torch.randint(0, WORDS, (5, LENGTH))
    np.savez_compressed(folder / "ten_classes.io.npz", **{"in:tokens": x.numpy(), "out:probabilities": run(folder / "ten_classes.onnx", x)})


def judge(network, path, x, spam):
    """The only place that reads the test messages."""
    print(f"test, {len(x)} unseen messages, {spam.sum()} of them spam:")
    print("  32 bits, torch:      ", report(answers(network, x), spam))
    got = run(path, x)
    print("  8 bits, onnxruntime: ", report(got, spam))
    with torch.no_grad():
        for name, value in dequantized(path).items():
            parts = {"embedding": "embedding.weight", "rnn1_w": "rnn1.weight_ih_l0", "rnn1_r": "rnn1.weight_hh_l0",
                     "rnn2_w": "rnn2.weight_ih_l0", "rnn2_r": "rnn2.weight_hh_l0",
                     "dense1_w": "dense1.weight", "dense2_w": "dense2.weight"}
            if name in parts:
                target = network.state_dict()[parts[name]]
                target.copy_(torch.from_numpy(value).reshape(target.shape))
    apart = np.abs(got - answers(network, x)).max()
    print(f"  torch with the 8-bit weights and onnxruntime differ by {apart:.1e}")
    assert apart < 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="SMSSpamCollection.tsv")
    parser.add_argument("--ten-classes", action="store_true", help="write the untrained network of ten classes, and no more")
    parser.add_argument("--choose-only", action="store_true", help="stop after validation: reads no test message")
    args = parser.parse_args()
    torch.set_num_threads(1)  # so that a second run gives the same bits
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}, seed {SEED}")
    if args.ten_classes:
        ten_classes(ROOT / "tests/data")
        return

    texts, messages, spam = read_messages(args.data)
    print(f"{len(messages)} messages that differ, {spam.sum()} of them spam")
    order = np.random.default_rng(SEED).permutation(len(messages))
    fifth, tenth = len(messages) // 5, len(messages) // 10
    test, usable = order[:fifth], order[fifth:]

    def of(index, words):
        return numbers([messages[i] for i in index], words), spam[index]

    watched, learned = usable[:tenth], usable[tenth:]
    words = vocabulary([messages[i] for i in learned])
    found = {}
    for epochs in EPOCHS:
        print(f"{epochs} epochs on {len(learned)} messages, {len(words)} words", flush=True)
        network = train(*of(learned, words), epochs, of(watched, words))
        found[epochs] = measures(answers(network, of(watched, words)[0]), spam[watched])[0]
    best = max(found, key=lambda epochs: (found[epochs], -epochs))
    print(f"validation, {len(watched)} messages:", ", ".join(f"{e} epochs F1 {f1:.4f}" for e, f1 in found.items()))
    print(f"chosen: {best} epochs")
    if args.choose_only:
        return

    words = vocabulary([messages[i] for i in usable])
    print(f"{best} epochs on all {len(usable)} messages, {len(words)} words", flush=True)
    network = train(*of(usable, words), best)
    path = ROOT / "models/spam.onnx"
    export(network, path)
    # Line i is number i.
    (ROOT / "models/spam_words.txt").write_text("\n".join(["[padding]", "[unknown]", *words]) + "\n", encoding="utf-8")
    judge(network, path, *of(test, words))
    # Of the test, the first that come, and of the spam that with a prize.
    some = [*test[~spam[test]][:8], *[i for i in test[spam[test]] if "prize" in messages[i]][:8]]
    keep_answers(ROOT / "examples/spam/expected.json", [texts[i] for i in some] + ODD, words)
    content = path.read_bytes()
    print(f"{path.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
