"""Hidden states after the frozen layers, computed once: tuning the last layers then costs a third."""

import numpy as np
import torch

from data import Family
from encoder import WIDTH, MiniLm, Tokenizer, batches, cut
from pairs import identity, pairs, variant

FROZEN = 4


class Hidden:
    """Flat [tokens, 384] fp16 and where each text lies in it."""

    def __init__(self, model: MiniLm, tok: Tokenizer, texts: list[str], limit: int):
        self.place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        ids = [cut(e.ids, limit) for e in tok.encode_batch(list(self.place), add_special_tokens=False)]
        self.starts = np.cumsum([0] + [len(i) for i in ids])
        self.flat = np.zeros((self.starts[-1], WIDTH), dtype=np.float16)
        with torch.inference_mode():
            for at, tokens, mask in batches(ids, 64):
                out = model.early(tokens, mask, FROZEN).numpy()
                for row, text in enumerate(at):
                    self.flat[self.starts[text] : self.starts[text + 1]] = out[row, : len(ids[text])]

    def batch(self, texts: list[str]):
        at = [self.place[text] for text in texts]
        lengths = [self.starts[a + 1] - self.starts[a] for a in at]
        x = np.zeros((len(at), max(lengths), WIDTH), dtype=np.float32)
        mask = np.zeros(x.shape[:2], dtype=np.int64)
        for row, (a, length) in enumerate(zip(at, lengths)):
            x[row, :length] = self.flat[self.starts[a] : self.starts[a + 1]]
            mask[row, :length] = 1
        return torch.from_numpy(x), torch.from_numpy(mask)


def chosen(family: Family, limit: int, rng) -> list[tuple[str, str, int]]:
    """(question, tool's text, number) of at most `limit` pairs."""
    made = pairs(family, 7)
    rng.shuffle(made)
    same = identity(family)
    if family.name == "metatool":  # evenly over its few tools
        made.sort(key=lambda pair: pair[1])
        made = made[:: max(1, len(made) // limit)]
    return [(p[0], variant(family.tools[p[1]], p[2], rng), same[p[1]]) for p in made[:limit]]
