"""Says how `tokenizers` and ONNX Runtime see the sentences of examples/similarity.rs.

    python3 tests/reference/similarity.py --models ../shared/models

Writes `examples/similarity/expected.json`: `tokens`, the numbers of sentences, odd ones among them; `near`, how near each of
the example's own sentences is to its question. It ran with tokenizers 0.23.3 and ONNX Runtime 1.32.0.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import BertWordPieceTokenizer

ROOT = Path(__file__).resolve().parents[2]
ODD = [
    "", " \t\n", "A cat sits on the sofa.", "Crème brûlée — ÀÉÎÕÜ, naïve façade", "don't 'quote' (brackets) [odd]s",
    "unbelievably antidisestablishmentarianism", "x" * 101, "你好, 世界", "привет мир", "Straße İstanbul", "a\u00adb zero\u200bwidth",
    "¿Qué? «oui» … 3.14€ 50%", "emoji 🎉 here", "tail \ufffd end", "e\u0301tude", "日本語カタカナ",
]  # fmt: skip


def own():
    """The question and the sentences, out of the example's source."""
    source = (ROOT / "examples/similarity.rs").read_text(encoding="utf-8")
    question = re.search(r'const QUESTION: &str = "(.*)";', source)[1]
    sentences = re.search(r"const SENTENCES: .*?\[\n(.*?)\];", source, re.DOTALL)[1]
    return question, re.findall(r'"(.*)"', sentences)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    args = parser.parse_args()
    tokenizer = BertWordPieceTokenizer(str(ROOT / "models/labels/minilm_vocab.txt"), lowercase=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(args.models / "all-minilm-l6-v2_w8.onnx", options, providers=["CPUExecutionProvider"])

    def embedded(text):
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return session.run(["sentence_embedding"], given)[0][0]

    question, sentences = own()
    vector = embedded(question)
    rows = [json.dumps({"text": text, "tokens": tokenizer.encode(text).ids}, ensure_ascii=False) for text in [*ODD, question, *sentences]]
    near = [round(float(embedded(text) @ vector), 6) for text in sentences]
    out = ROOT / "examples/similarity/expected.json"
    out.write_text('{"tokens": [\n' + ",\n".join(rows) + '\n],\n"near": ' + json.dumps(near) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
