"""Exports three small networks with seeded weights by both of PyTorch's exporters, for `tests/exports.rs`.

    pip install torch transformers onnx onnxscript onnxruntime numpy
    python3 tests/reference/exports.py

A vision transformer and a decoder with keys and values of the past as the `transformers` package builds them (grouped queries,
rotary embeddings, RMSNorm, a gated MLP), and a text classifier of two bidirectional LSTM layers. Nothing is trained: the
weights are what a seed draws. Written are `tests/data/exports/NAME.EXPORTER.onnx` and, beside each, what ONNX Runtime
answers: `NAME.EXPORTER.io.npz`, of arrays `in:CASE/NAME` and `out:CASE/NAME`, a case being a batch and a length. Of the
decoder's cases each goes on where the one before it ended: its past is the other's present.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from torch import nn

SEED = 20261123
TO = Path(__file__).resolve().parents[1] / "data" / "exports"
LAYERS, HEADS, SHARED, SIZE, WORDS = 2, 4, 2, 16, 64


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = transformers.ViTForImageClassification(
            transformers.ViTConfig(
                hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=24,
                patch_size=8, num_labels=7, initializer_range=0.2,
            )
        )

    def forward(self, pixels):
        return self.model(pixel_values=pixels).logits


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, 24)
        self.layers = nn.LSTM(24, 20, 2, batch_first=True, bidirectional=True)
        self.classes = nn.Linear(40, 3)

    def forward(self, words):
        return self.classes(self.layers(self.words(words))[0].mean(1)).softmax(-1)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=HEADS * SIZE, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                num_key_value_heads=SHARED, intermediate_size=96, vocab_size=WORDS, initializer_range=0.2,
                tie_word_embeddings=True,
            )
        )

    def forward(self, words, mask, places, k0, v0, k1, v1):
        cache = transformers.DynamicCache(config=self.model.config)
        for layer, (k, v) in enumerate([(k0, v0), (k1, v1)]):
            cache.update(k, v, layer)
        given = dict(input_ids=words, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
        result = self.model(**given)
        layers = result.past_key_values.layers
        return (result.logits, *(part for layer in layers for part in (layer.keys, layer.values)))


PAST = [f"past.{layer}.{part}" for layer in range(LAYERS) for part in ("key", "value")]
PRESENT = [name.replace("past", "present") for name in PAST]


def words(random, batch, length):
    return random.integers(0, WORDS, (batch, length), dtype=np.int64)


def decoding(random, batch, length, past):
    """The inputs of the decoder: new words behind `past`, which are what the case before gave."""
    before = past[0].shape[2] if past else 0
    empty = [np.zeros((batch, SHARED, 0, SIZE), np.float32)] * len(PAST)
    given = {"input_ids": words(random, batch, length), "attention_mask": np.ones((batch, before + length), np.int64)}
    given["position_ids"] = np.tile(np.arange(before, before + length, dtype=np.int64), (batch, 1))
    return given | dict(zip(PAST, past or empty))


def strip(path):
    """Takes out where in PyTorch each node comes from, which would be most of the file."""
    model = onnx.load(path)
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph, model):
        item.doc_string = ""
        del item.metadata_props[:]
    onnx.save(model, path)


def write(name, model, example, inputs, outputs, dims, cases):
    for exporter in ("script", "dynamo"):
        path = TO / f"{name}.{exporter}.onnx"
        dynamo = exporter == "dynamo"
        axes = {i: ax for i, ax in dims.items() if i in inputs} if dynamo else dims
        shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in axes.get(i, {})} for i in inputs)
        how = dict(dynamic_shapes=shapes, external_data=False) if dynamo else dict(dynamic_axes=axes)
        with torch.no_grad():
            torch.onnx.export(model, example, path, input_names=inputs, output_names=outputs, dynamo=dynamo, opset_version=20 if dynamo else 17, **how)
        strip(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        arrays, before = {}, None
        for case, make in cases.items():
            given = make(before)
            answers = session.run(outputs, given)
            before = answers[1:]
            arrays |= {f"in:{case}/{key}": value for key, value in given.items()}
            arrays |= {f"out:{case}/{key}": value for key, value in zip(outputs, answers)}
        np.savez_compressed(path.with_suffix(".io.npz"), **arrays)
        print(f"{path.name}: {path.stat().st_size} bytes")


def main():
    warnings.filterwarnings("ignore")
    TO.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    pixels = lambda batch: random.standard_normal((batch, 3, 24, 24)).astype(np.float32)
    write(
        "vision", Vision().eval(), (torch.randn(2, 3, 24, 24),), ["pixels"], ["logits"],
        {"pixels": {0: "batch"}, "logits": {0: "batch"}},
        {f"{batch}": lambda _, batch=batch: {"pixels": pixels(batch)} for batch in (1, 3)},
    )
    write(
        "text", Text().eval(), (torch.zeros(2, 5, dtype=torch.long),), ["words"], ["classes"],
        {"words": {0: "batch", 1: "length"}, "classes": {0: "batch"}},
        {f"{b}x{n}": lambda _, b=b, n=n: {"words": words(random, b, n)} for b, n in ((1, 1), (1, 30), (3, 11))},
    )
    example = [torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 8, dtype=torch.long), torch.arange(5, 8).repeat(2, 1)]
    example += [torch.randn(2, SHARED, 5, SIZE) for _ in PAST]
    dims = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "total"}}
    dims |= {"position_ids": {0: "batch", 1: "length"}, "logits": {0: "batch", 1: "length"}}
    dims |= {name: {0: "batch", 2: "past"} for name in PAST} | {name: {0: "batch", 2: "total"} for name in PRESENT}
    lengths = (7, 1, 1, 4, 1)
    write(
        "decoder", Decoder().eval(), tuple(example), ["input_ids", "attention_mask", "position_ids", *PAST],
        ["logits", *PRESENT], dims,
        {f"{i}": lambda before, n=n: decoding(random, 2, n, before) for i, n in enumerate(lengths)},
    )


main()
