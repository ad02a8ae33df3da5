"""Tunes the last two layers of the transformer on pairs of question and tool, and writes `encoder.onnx`.

What lies below them stays, so it is computed once for all families. In-batch negatives of one family at a time, and of
each question the best wrong tool that words and the untuned model find; what is nearly the right one is no negative.
`--without FAMILY` leaves one out, to be reported on it.
"""

import argparse
import copy
import hashlib
import random
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import onnxfile
from data import Family, families, head, words
from encoder import CLS, LAYERS, SEP, MiniLm, Tokenizer, additive, tokenizer
from measure import Lexical, score, told as row, z
from pairs import identity, pairs

FIRST, TOKENS, TEMPERATURE = 4, 64, 0.05
BATCH, STEPS, RATE, NEAR, SEED = 48, 90, 5e-5, 0.85, 7
# Pairs of a family at most.
MOST = {"mcp": 2200, "seal": 3200, "bfcl": 2200, "metatool": 2500}


def chosen(family: Family) -> list[tuple[str, int, str]]:
    """Pairs with the text that stands for the tool: now and then its name or its description alone."""
    rng = random.Random(5)
    made = pairs(family, SEED)
    out = []
    for question, at, text in rng.sample(made, min(len(made), MOST[family.name])):
        chance, tool = rng.random(), family.tools[at]
        if text == head(tool) and chance < 0.1:
            text = words(tool.name)
        elif text == head(tool) and chance < 0.2 and len(tool.description.split()) > 4:
            text = tool.description
        out.append((question, at, text))
    return out


class Hidden:
    """Texts as the layers below `FIRST` leave them, and the vectors that the untuned model makes of them."""

    def __init__(self, folder: Path, model: MiniLm, tok: Tokenizer, texts: list[str]):
        encoded = tok.encode_batch(texts, add_special_tokens=False)
        ids = [[CLS] + e.ids[: TOKENS - 2] + [SEP] for e in encoded]
        self.at = {text: at for at, text in enumerate(texts)}
        self.start = np.cumsum([0] + [len(i) for i in ids])
        name = f"hidden-{hashlib.sha256(repr((FIRST, ids)).encode()).hexdigest()[:16]}"
        path, untuned = folder / f"{name}.npy", folder / f"{name}.vectors.npy"
        if not path.exists():
            states = np.zeros((self.start[-1], 384), np.float16)
            order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
            for first in range(0, len(order), 128):
                part = order[first : first + 128]
                for at, found in zip(part, below(model, [ids[at] for at in part])):
                    states[self.start[at] : self.start[at + 1]] = found[: len(ids[at])]
            np.save(path, states)
        self.states = np.load(path, mmap_mode="r")
        if not untuned.exists():
            np.save(untuned, vectors(model.layers[FIRST:], self, texts))
        self.untuned = np.load(untuned)

    def before(self, texts: list[str]) -> np.ndarray:
        return self.untuned[[self.at[text] for text in texts]]

    def batch(self, rows: list[int]):
        longest = max(self.start[at + 1] - self.start[at] for at in rows)
        x, mask = np.zeros((len(rows), longest, 384), np.float32), np.zeros((len(rows), longest), np.float32)
        for place, at in enumerate(rows):
            size = self.start[at + 1] - self.start[at]
            x[place, :size], mask[place, :size] = self.states[self.start[at] : self.start[at + 1]], 1
        return torch.from_numpy(x), torch.from_numpy(mask)


@torch.inference_mode()
def below(model: MiniLm, ids: list[list[int]]) -> np.ndarray:
    longest = max(map(len, ids))
    x, mask = torch.zeros(len(ids), longest, dtype=torch.long), torch.zeros(len(ids), longest)
    for at, row_ids in enumerate(ids):
        x[at, : len(row_ids)], mask[at, : len(row_ids)] = torch.tensor(row_ids), 1
    x = model.norm(model.words(x) + model.places.weight[:longest] + model.kind)
    for layer in model.layers[:FIRST]:
        x = layer(x, additive(mask))
    return x.half().numpy()


def top(layers, x, mask):
    for layer in layers:
        x = layer(x, additive(mask))
    mask = mask.unsqueeze(-1)
    return F.normalize((x * mask).sum(1) / mask.sum(1), dim=-1)


@torch.inference_mode()
def vectors(layers, hidden: Hidden, texts: list[str]) -> np.ndarray:
    rows = [hidden.at[text] for text in texts]
    order = sorted(range(len(rows)), key=lambda at: hidden.start[rows[at] + 1] - hidden.start[rows[at]])
    out = np.zeros((len(rows), 384), np.float32)
    for first in range(0, len(order), 128):
        part = order[first : first + 128]
        out[part] = top(layers, *hidden.batch([rows[at] for at in part])).numpy()
    return out


class Asked:
    """A family's pairs, what of each question is right, and the wrong tools that look right."""

    def __init__(self, family: Family, hidden: Hidden):
        self.pairs, self.same = chosen(family), identity(family)
        self.heads = [head(tool) for tool in family.tools]
        self.right: dict[str, set[int]] = {}
        for question in (q for asked in family.questions.values() for q in asked):
            self.right.setdefault(question.text, set()).update(self.same[t] for e in question.gold for t in e)
        wanted: dict[str, list[int]] = {}
        for question, tool, _ in self.pairs:
            self.right.setdefault(question, set()).add(self.same[tool])
            wanted.setdefault(question, []).append(tool)
        self.wrong: dict[str, list[int]] = {}
        if family.questions:  # those made from tools would find too many that serve as well
            asked, tools, lexical = list(wanted), hidden.before(self.heads), Lexical(family.tools)
            for first in range(0, len(asked), 512):
                part = asked[first : first + 512]
                scores = z(lexical.scores(part)) + z(hidden.before(part) @ tools.T)
                for question, best in zip(part, np.argsort(-scores, 1)[:, :24]):
                    near = (tools[best] @ tools[wanted[question]].T).max(1)
                    wrong = [int(t) for t, n in zip(best, near) if n < NEAR and self.same[t] not in self.right[question]]
                    self.wrong[question] = wrong[:12]

    def step(self, layers, hidden: Hidden, rng: random.Random):
        """The loss of a batch."""
        pick = rng.sample(self.pairs, min(BATCH, len(self.pairs)))
        tools = [(tool, text) for _, tool, text in pick]
        for question, _, _ in pick:
            tools += [(t, self.heads[t]) for t in rng.sample(self.wrong.get(question, []), min(1, len(self.wrong.get(question, []))))]
        texts = sorted({text for _, text in tools})
        place = {text: at for at, text in enumerate(texts)}
        asked = top(layers, *hidden.batch([hidden.at[question] for question, _, _ in pick]))
        found = top(layers, *hidden.batch([hidden.at[text] for text in texts]))[[place[text] for _, text in tools]]
        right = [[self.same[tool] in self.right[question] and at != own for at, (tool, _) in enumerate(tools)] for own, (question, _, _) in enumerate(pick)]
        scores = (asked @ found.T / TEMPERATURE).masked_fill(torch.tensor(right), -1e4)
        answer = torch.arange(len(pick))
        return F.cross_entropy(scores, answer) + 0.3 * F.cross_entropy(scores[:, : len(pick)].T, answer)


def train(kept: list[Family], hidden: Hidden, base):
    rng = random.Random(SEED)
    layers = copy.deepcopy(base).train()
    sets = [Asked(family, hidden) for family in kept]
    optimiser = torch.optim.AdamW(layers.parameters(), lr=RATE, weight_decay=0.01)
    for step in range(STEPS):
        rate = RATE * min(1.0, (step + 1) / (0.1 * STEPS)) * min(1.0, (STEPS - step) / (0.9 * STEPS))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = sets[step % len(sets)].step(layers, hidden, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 < len(sets):
            print(f"{step} {kept[step % len(sets)].name} {loss.item():.3f}", flush=True)
    return layers.eval()


def texts_of(found: dict[str, Family]) -> list[str]:
    """All that training reads, whatever is left out: it is computed once."""
    texts = set()
    for family in found.values():
        if family.questions:
            texts.update(head(tool) for tool in family.tools)
            texts.update(q.text for q in reported(family)[1])
        for question, _, text in chosen(family):
            texts.update((question, text))
    return sorted(texts)


def reported(family: Family):
    name = next(iter(family.questions))
    return name, family.questions[name][:: 4 if len(family.questions[name]) > 2000 else 2]


def report(layers, what: str, hidden: Hidden, family: Family) -> None:
    """The cosine alone, on a family that was left out."""
    name, questions = reported(family)
    tools = vectors(layers, hidden, [head(tool) for tool in family.tools])
    scores = vectors(layers, hidden, [q.text for q in questions]) @ tools.T
    print(row(f"{name}, {what}", score(scores, questions)), flush=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--base", type=Path, required=True, help="cache of this training")
    options.add_argument("--mini", type=Path, required=True, help="folder of MiniLM's weights and tokenizer")
    options.add_argument("--published", type=Path, required=True, help="int8 ONNX file of the same weights")
    options.add_argument("--without", default="")
    options.add_argument("--out", type=Path, required=True)
    told = options.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    found = families(told.data)
    model = MiniLm.load(told.mini / "model.safetensors")
    hidden = Hidden(told.base, model, tokenizer(told.mini / "tokenizer.json"), texts_of(found))
    base = model.layers[FIRST:LAYERS]
    kept = [family for name, family in found.items() if name != told.without]
    layers = train(kept, hidden, base) if kept else base
    onnxfile.write(told.published, {name: value.numpy() for name, value in layers.state_dict().items()}, FIRST, told.out)
    print(f"{told.out}: tuned on {', '.join(f.name for f in kept) or 'nothing'}")
    if told.without in found:
        report(base, "as published", hidden, found[told.without])
        report(layers, "tuned, held out", hidden, found[told.without])


if __name__ == "__main__":
    main()
