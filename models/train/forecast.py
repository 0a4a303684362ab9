"""Trains the network that foretells a sensor and notices when it goes wrong, and writes it as ONNX.

    python3 models/train/forecast.py

The sensor is made up, with a seed: the temperature of a cold store every ten minutes. It follows the day, a compressor goes
on and off, and it defrosts every six hours; the noise has a memory. Written are `models/sensor.onnx`, two weeks that the
training never saw with five faults in them (`examples/forecast/sensor.csv`, the last column naming the fault), and what ONNX
Runtime answers to these (`examples/forecast/expected.json`).

Step by step, its state handed on, the network reads a value and the hour, and gives for each of the next 24 values a
mean and a deviation. A value is as odd as it and the two before lie, on the whole, deviations away from what was foretold
one step before each.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
DAY = 144  # values
WIDTH, AHEAD = 32, 24
LENGTH, BATCH, STEPS, RATE = 432, 16, 1500, 5e-3
WINDOW = 3  # values that are odd together
CENTRE, SCALE = 4.0, 2.0  # what the network reads is (value - CENTRE) / SCALE


def series(days, dice):
    """Degrees, `days` days long, from some midnight on."""
    n = days * DAY
    at = np.arange(n)
    warm = np.cumsum(dice.normal(0, 0.12, days + 2))  # weather
    warm = np.interp(at / DAY, np.arange(days + 2), warm)
    day = (0.8 + 0.1 * warm) * np.sin(2 * np.pi * (at / DAY - 0.35)) + 0.25 * np.sin(4 * np.pi * (at / DAY - 0.1))
    # The compressor: its period changes a little with the load.
    phase = np.cumsum(2 * np.pi / (9.4 + 0.8 * np.sin(2 * np.pi * (at / DAY - 0.1)))) + dice.uniform(0, 2 * np.pi)
    compressor = 0.35 * np.tanh(2 * np.sin(phase))
    # Defrosting warms it up quickly, and it takes an hour and a half to be cold again.
    since = (at - 13) % (DAY // 4)
    defrost = np.where(since < 3, 0.6 * (since + 1), 1.8 * np.exp(-(since - 2) / 3.5))
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.7 * noise[i - 1] + dice.normal(0, 0.06)
    return 4.0 + 0.3 * warm + day + compressor + defrost + noise


def with_faults(values, dice):
    """Five faults at known places: (name, from, to)."""
    values = values.copy()
    faults = [("spike", 3 * DAY + 70, 3 * DAY + 71), ("stuck", 5 * DAY + 20, 5 * DAY + 45), ("drift", 7 * DAY + 90, 7 * DAY + 114),
              ("no defrosting", 10 * DAY + 85, 10 * DAY + 94), ("loose contact", 12 * DAY + 40, 12 * DAY + 52)]
    for name, a, b in faults:
        if name == "spike":
            values[a:b] += 2.5
        elif name == "stuck":
            values[a:b] = values[a]
        elif name == "drift":
            values[a:b] += np.linspace(0, 3.0, b - a)  # the door stands open
        elif name == "no defrosting":
            assert (a - 13) % (DAY // 4) == 0, (a - 13) % (DAY // 4)
            since = np.arange(b - a)
            values[a:b] -= np.where(since < 3, 0.6 * (since + 1), 1.8 * np.exp(-(since - 2) / 3.5))
        else:
            values[a:b] += dice.choice([-1.2, 0.0, 1.2], b - a)
    return values, faults


def inputs(values, start=0):
    """[n, 3]: the value as the network reads it, and the hour as a point on a circle."""
    hour = 2 * np.pi * (start + np.arange(len(values))) / DAY
    return np.stack([(values - CENTRE) / SCALE, np.sin(hour), np.cos(hour)], 1).astype(np.float32)


class Sensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru1 = nn.GRU(3, WIDTH)
        self.gru2 = nn.GRU(WIDTH, WIDTH)
        self.dense = nn.Linear(WIDTH, 2 * AHEAD)

    def forward(self, x, states=(None, None)):
        x, a = self.gru1(x, states[0])
        x, b = self.gru2(x, states[1])
        mean, deviation = self.dense(x).chunk(2, -1)
        return mean, deviation.clamp(-6, 3), (a, b)


def loss_of(mean, deviation, values):
    """Minus the logarithm of a normal density, of each of the next values; the first day only fills the state."""
    targets = values.unfold(0, AHEAD, 1)[1:]  # [n - AHEAD, batch, AHEAD]
    mean, deviation = mean[: len(targets)], deviation[: len(targets)]
    off = (targets - mean) * torch.exp(-deviation)
    return (0.5 * off.square() + deviation)[DAY:].mean()


def train():
    torch.manual_seed(SEED)
    dice = np.random.default_rng(SEED)
    network = Sensor()
    print(f"{sum(p.numel() for p in network.parameters())} numbers")
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    # Two months each of twenty such sensors.
    all_values = np.stack([series(60, dice) for _ in range(20)], 1)
    held = [series(60, dice) for _ in range(4)]
    start, total = time.time(), 0.0
    for step in range(STEPS):
        begins = dice.integers(0, len(all_values) - LENGTH, BATCH)
        which = dice.integers(0, all_values.shape[1], BATCH)
        x = np.stack([inputs(all_values[b : b + LENGTH, w], b) for b, w in zip(begins, which)], 1)
        x = torch.from_numpy(x)
        mean, deviation, _ = network(x)
        loss = loss_of(mean, deviation, x[..., 0])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 99:
            print(f"  step {step + 1}/{STEPS}: loss {total / 100:.3f}, {time.time() - start:.0f} s", flush=True)
            total = 0.0
    return network.eval(), held


def errors(network, held):
    """Mean absolute errors in degrees on what was not learnt, and that of taking the value of the day before."""
    off, plain = [], []
    for values in held:
        with torch.no_grad():
            mean = network(torch.from_numpy(inputs(values))[:, None])[0][:, 0].numpy() * SCALE + CENTRE
        for ahead in (1, 6, AHEAD):
            at = np.arange(2 * DAY, len(values) - AHEAD)
            off.append(np.abs(mean[at, ahead - 1] - values[at + ahead]).mean())
            plain.append(np.abs(values[at + ahead - DAY] - values[at + ahead]).mean())
    off, plain = np.reshape(off, (-1, 3)).mean(0), np.reshape(plain, (-1, 3)).mean(0)
    print("mean error, degrees, of four sensors not learnt:")
    for i, ahead in enumerate((1, 6, AHEAD)):
        print(f"  {ahead * 10} minutes ahead {off[i]:.3f}, the day before at that hour {plain[i]:.3f}")


def export(network, path):
    """One step: x [1, 3], state [2, 1, WIDTH] -> mean and deviation [1, AHEAD] in degrees, next_state."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    nodes, weights = [], []

    def constant(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def gates(w):
        r, z, n = np.split(w, 3)  # ONNX has z, r, n
        return np.concatenate([z, r, n])

    nodes.append(helper.make_node("Unsqueeze", ["x", constant("axis0", np.array([0], np.int64))], ["step"]))
    nodes.append(helper.make_node("Split", ["state"], ["state1", "state2"], axis=0))
    x = "step"
    for n in (1, 2):
        get = lambda part: gates(state[f"gru{n}.{part}_l0"])
        w, r = constant(f"w{n}", get("weight_ih")[None]), constant(f"r{n}", get("weight_hh")[None])
        b = constant(f"b{n}", np.concatenate([get("bias_ih"), get("bias_hh")])[None])
        nodes.append(helper.make_node("GRU", [x, w, r, b, "", f"state{n}"], ["", f"next{n}"], hidden_size=WIDTH, linear_before_reset=1))
        x = f"next{n}"
    nodes.append(helper.make_node("Concat", ["next1", "next2"], ["next_state"], axis=0))
    nodes.append(helper.make_node("Squeeze", ["next2", "axis0"], ["last"]))
    for part, name in enumerate(("mean", "log_deviation")):
        rows = slice(part * AHEAD, (part + 1) * AHEAD)
        # Scaled back to degrees in the weights.
        scale, shift = ((SCALE, CENTRE) if part == 0 else (1.0, 0.0))
        w = constant(f"{name}_w", (state["dense.weight"][rows] * scale).astype(np.float32))
        b = constant(f"{name}_b", (state["dense.bias"][rows] * scale + shift).astype(np.float32))
        nodes.append(helper.make_node("Gemm", ["last", w, b], [name if part == 0 else "raw"], transB=1))
    low, high = constant("low", np.float32(-6)), constant("high", np.float32(3))
    nodes.append(helper.make_node("Clip", ["raw", low, high], ["log_deviation"]))
    nodes.append(helper.make_node("Exp", ["log_deviation"], ["scaled"]))
    nodes.append(helper.make_node("Mul", ["scaled", constant("scale", np.float32(SCALE))], ["deviation"]))
    info, number = helper.make_tensor_value_info, TensorProto.FLOAT
    given = [info("x", number, [1, 3]), info("state", number, [2, 1, WIDTH])]
    gives = [info("mean", number, [1, AHEAD]), info("deviation", number, [1, AHEAD]), info("next_state", number, [2, 1, WIDTH])]
    graph = helper.make_graph(nodes, "sensor", given, gives, weights)
    model = helper.make_model(graph, producer_name="rimlight", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def run(path, values):
    """What ONNX Runtime answers, step by step: means and deviations, [n, AHEAD] each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    state, found = np.zeros((2, 1, WIDTH), np.float32), []
    for x in inputs(values):
        mean, deviation, state = session.run(["mean", "deviation", "next_state"], {"x": x[None], "state": state})
        found.append((mean[0], deviation[0]))
    mean, deviation = zip(*found)
    return np.array(mean), np.array(deviation)


def judge(values, faults, mean, deviation):
    """How odd the faults are, and the oddest of what is none: root mean squares over WINDOW values."""
    squares = np.zeros(len(values))
    squares[1:] = ((values[1:] - mean[:-1, 0]) / deviation[:-1, 0]) ** 2
    odd = np.sqrt(np.convolve(squares, np.full(WINDOW, 1 / WINDOW))[: len(values)])
    usual = np.ones(len(values), bool)
    for name, a, b in faults:
        print(f"  {name}: {b - a} values, the oddest {odd[a : b + WINDOW].max():.1f} deviations away")
        usual[a : b + DAY // 2] = False
    usual[:DAY] = False
    print(f"  no fault near: {usual.sum()} values, the oddest {odd[usual].max():.1f} deviations away")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    torch.set_num_threads(1)  # so that a second run gives the same bits
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}, seed {SEED}")
    network, held = train()
    errors(network, held)
    path = ROOT / "models/sensor.onnx"
    export(network, path)

    dice = np.random.default_rng(SEED + 1)
    values, faults = with_faults(series(14, dice), dice)
    values = np.round(values, 2)
    names = [""] * len(values)
    for name, a, b in faults:
        names[a:b] = [name] * (b - a)
    folder = ROOT / "examples/forecast"
    folder.mkdir(exist_ok=True)
    lines = [f"{i // DAY + 1},{i % DAY // 6:02}:{i % 6}0,{v:.2f},{name}" for i, (v, name) in enumerate(zip(values, names))]
    (folder / "sensor.csv").write_text("\n".join(["day,time,degrees,fault", *lines]) + "\n")
    mean, deviation = run(path, values)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs(values))[:, None])[0][:, 0].numpy() * SCALE + CENTRE
    apart = np.abs(expected - mean).max()
    print(f"torch and onnxruntime differ by {apart:.1e}")
    assert apart < 1e-3
    some = list(range(50, len(values), 100))
    rows = [{"at": i, "mean": mean[i].round(5).tolist(), "deviation": deviation[i].round(5).tolist()} for i in some]
    (folder / "expected.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")
    judge(values, faults, mean, deviation)
    content = path.read_bytes()
    print(f"{path.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
