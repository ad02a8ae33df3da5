"""Makes `static.bin`: distilled from MiniLM, then trained on pairs of question and tool. `--without FAMILY` holds one out and reports on it."""

import argparse
from pathlib import Path

import numpy as np
import torch

import contrast
import table
from data import Family, families, head
from encoder import VOCABULARY, MiniLm, Tokenizer, tokenizer
from measure import Lexical, score, told as row, z


def counted(tok: Tokenizer, kept: list[Family]) -> np.ndarray:
    """How often each token occurs in tools and, with twice the weight, in questions. Without questions, the words of ordinary requests
    would count as rare."""
    counts = np.zeros(VOCABULARY)

    def add(texts, times):
        for encoded in tok.encode_batch(texts, add_special_tokens=False):
            np.add.at(counts, encoded.ids, times)

    for family in kept:
        add([head(tool) for tool in family.tools], 1)
        for name, questions in family.questions.items():
            if not name.endswith("queries_all"):
                add([q.text for q in questions], 2)
    return counts


def distilled(base: Path, mini: Path) -> np.ndarray:
    kept = base / "distilled.npy"
    if not kept.exists():
        np.save(kept, table.distil(MiniLm.load(mini / "model.safetensors")))
    return np.load(kept)


def report(rows: np.ndarray, family: Family, tok: Tokenizer) -> None:
    """Prints the figures of the table alone and beside BM25, on a held-out family."""

    def vectors(texts):
        return table.vectors(rows, [e.ids for e in tok.encode_batch(texts, add_special_tokens=False)])

    tools, words = vectors([head(tool) for tool in family.tools]), Lexical(family.tools)
    for name, questions in family.questions.items():
        if not name.endswith("queries_all"):
            texts = [q.text for q in questions]
            near, lexical = z(vectors(texts) @ tools.T), z(words.scores(texts))
            for what, scores in (("BM25", lexical), ("table, held out", near), ("both", lexical + near)):
                print(row(f"{name}, {what}", score(scores, questions)), flush=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--base", type=Path, required=True, help="cache of this training")
    options.add_argument("--mini", type=Path, required=True, help="folder of MiniLM's weights and tokenizer")
    options.add_argument("--without", default="")
    options.add_argument("--out", type=Path, required=True)
    told = options.parse_args()
    torch.manual_seed(7)
    torch.set_num_threads(1)
    tok = tokenizer(told.mini / "tokenizer.json")
    found = families(told.data)
    kept = [family for name, family in found.items() if name != told.without]
    start = table.weighted(distilled(told.base, told.mini), counted(tok, kept))
    trained = contrast.train(start, kept, tok, steps=200, rate=1e-3) if kept else start
    table.save(trained, told.out)
    print(f"{told.out}: trained on {', '.join(f.name for f in kept) or 'nothing'}")
    if told.without in found:
        report(table.load(told.out), found[told.without], tok)


if __name__ == "__main__":
    main()
