"""Tunes the transformer for prompts on pairs of question and tool, with a pair of small matrices beside every linear.

Vectors of tools stay as published. So every tool of a family is a negative of every question at no cost, nothing is forgotten, and the
training carries over to unseen tools: prompts learn to be like descriptions.
`--without FAMILY` holds one out and reports on it.
"""

import argparse
import hashlib
import random
import re
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import onnxfile
from data import Family, families, head
from encoder import CLS, SEP, MiniLm, Tokenizer, tokenizer
from general import general
from measure import Lexical, score, told as row, z
from pairs import identity, pairs
from wishes import servers, wishes

# The most tokens of a text: for measuring, and for training.
TOKENS, READ = 64, 40
RANK, TEMPERATURE = 12, 0.05
# How many of the twelve directions of each change are kept. Held out, the others change nothing, and each takes time.
KEPT = 4
BATCH, STEPS, RATE, SEED = 40, 225, 5e-4, 7
# Tools with a higher cosine are no negatives of each other. Descriptions of servers overlap more than those of tools.
NEAR, LIKE = 0.9, 0.65
# The highest weight of lexical scores in the loss. The transformer is to find what they do not find.
HEARD = 1.5
# The most pairs of a family. More would not be used in all steps.
MOST = {"mcp": 1500, "servers": 2000, "seal": 1500, "bfcl": 1500, "metatool": 1500, "general": 2100}
# The separators between the wishes of a prompt.
WISH = re.compile(r"(?<=[.!?;])\s+|,?\s+(?:and then|and also|then|after that|finally)\s+")


class Encoder:
    """Computes vectors. Those of the published model are cached in a file, because they are the same for all families."""

    def __init__(self, model: MiniLm, tok: Tokenizer, folder: Path):
        self.model, self.tok, self.ids = model, tok, {}
        self.path, self.known = folder / "untuned.npz", {}
        if self.path.exists():
            held = np.load(self.path)
            self.known = dict(zip(held["keys"].tolist(), held["vectors"]))

    def encode(self, texts: list[str], most: int = TOKENS) -> torch.Tensor:
        for text in texts:
            if text not in self.ids:
                self.ids[text] = self.tok.encode(text, add_special_tokens=False).ids[: TOKENS - 2]
        return self.model.encode([[CLS, *self.ids[text][: most - 2], SEP] for text in texts])

    @torch.inference_mode()
    def vectors(self, texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        out = np.zeros((len(texts), 384), np.float32)
        for first in range(0, len(order), 256):
            part = order[first : first + 256]
            out[part] = self.encode([texts[at] for at in part]).numpy()
        return out

    def untuned(self, texts: list[str]) -> np.ndarray:
        """The vectors of the published model. Must be called before training."""
        keys = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
        missing = {key: text for key, text in zip(keys, texts) if key not in self.known}
        if missing:
            self.known.update(zip(missing, self.vectors(list(missing.values())).astype(np.float16)))
            np.savez(self.path, keys=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[key] for key in keys]).astype(np.float32)


class Asked:
    """The pairs of a family, the right tools of each question, and the published vectors of the tools."""

    def __init__(self, family: Family, encoder: Encoder, near: float, made: list[tuple[str, int]]):
        self.name, self.near = family.name, near
        self.same = np.array(identity(family))
        lexical = Lexical(family.tools)
        self.right: dict[str, set[int]] = {}
        for question in (q for asked in family.questions.values() for q in asked):
            self.right.setdefault(question.text, set()).update(int(self.same[t]) for e in question.gold for t in e)
        made = random.Random(SEED).sample(made, min(len(made), MOST[family.name]))
        self.pairs = [(self.part(question, tool, lexical), tool) for question, tool in made]
        for question, tool in self.pairs:
            self.right.setdefault(question, set()).add(int(self.same[tool]))
        self.tools = torch.from_numpy(encoder.untuned([head(tool) for tool in family.tools]))
        # A wish that was made from a description has its words. With lexical scores in the loss, nothing would be left to learn.
        self.words = None
        if family.name != "mcp":
            chunks = [[question for question, _ in self.pairs[at : at + 256]] for at in range(0, len(self.pairs), 256)]
            self.words = np.concatenate([z(lexical.scores(chunk)).astype(np.float16) for chunk in chunks])

    def part(self, question: str, tool: int, lexical: Lexical) -> str:
        """The wish of a prompt that asks for the tool. The selector reads the clauses of a prompt one by one too."""
        parts = [part for part in WISH.split(question) if len(part.split()) > 2]
        if len(self.right.get(question, ())) < 2 or len(parts) < 2:
            return question
        scores = lexical.scores(parts)[:, tool]
        if scores.max() <= 0:
            return question
        part = parts[int(scores.argmax())]
        self.right.setdefault(part, set()).update(self.right[question])
        return part

    def loss(self, encoder: Encoder, rng: random.Random) -> torch.Tensor:
        rows = rng.sample(range(len(self.pairs)), min(BATCH, len(self.pairs)))
        questions, gold = zip(*(self.pairs[at] for at in rows))
        gold = torch.tensor(gold)
        scores = encoder.encode(list(questions), READ) @ self.tools.T / TEMPERATURE
        if self.words is not None:
            scores = scores + HEARD * torch.tanh(torch.from_numpy(self.words[rows].astype(np.float32)) / 6)
        right = torch.from_numpy(np.stack([np.isin(self.same, list(self.right[question])) for question in questions]))
        left_out = right | (self.tools[gold] @ self.tools.T > self.near)
        left_out[torch.arange(len(rows)), gold] = False
        return F.cross_entropy(scores.masked_fill(left_out, -1e4), gold)


def sets(kept: list[Family], data: Path, encoder: Encoder) -> list[Asked]:
    made = []
    for family in kept:
        if family.name == "mcp":
            few = random.Random(SEED).sample(family.tools, min(len(family.tools), MOST["mcp"]))
            made.append(Asked(Family("mcp", few), encoder, NEAR, wishes(few, SEED)))
            some, prompts = general(family.tools, MOST["mcp"], SEED)
            made.append(Asked(some, encoder, NEAR, prompts))
            continue
        asked = {question.text for told in family.questions.values() for question in told}
        found = [(question, tool) for question, tool, _ in pairs(family, SEED) if question in asked]
        made.append(Asked(family, encoder, NEAR, found))
    hosts, wished = servers(data)
    if wished:
        made.append(Asked(hosts, encoder, LIKE, wished))
    return made


def train(asked: list[Asked], encoder: Encoder) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The pair of every linear by `layer.linear`, reduced to fewer directions."""
    rng = random.Random(SEED)
    # There are only a few kinds of general prompts, so they take half as many steps.
    turns = [one for one in asked if one.name != "general"] + asked
    added = encoder.model.low_rank(RANK)
    optimiser = torch.optim.AdamW([matrix for one in added.values() for matrix in (one.a, one.b)], lr=RATE, weight_decay=0.01)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / (0.1 * STEPS)) * min(1.0, (STEPS - step) / (0.9 * STEPS))
        one = turns[step % len(turns)]
        loss = one.loss(encoder, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 < len(turns):
            print(f"{step} {one.name} {loss.item():.3f}", flush=True)
    for one in added.values():
        one.a.data, one.b.data = narrowed(one.a.detach(), one.b.detach())
    return {name: (one.a.detach(), one.b.detach()) for name, one in added.items()}


def narrowed(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The best approximation of `a b` of lower rank."""
    left, sizes, right = torch.linalg.svd(a @ b, full_matrices=False)
    root = sizes[:KEPT].sqrt()
    return left[:, :KEPT] * root, root[:, None] * right[:KEPT]


class Report:
    """Prints the figures of a held-out family: the cosine alone, and beside lexical scores."""

    def __init__(self, encoder: Encoder, family: Family):
        self.name, questions = next(iter(family.questions.items()))
        self.questions = questions[:: 4 if len(questions) > 2000 else 2]
        self.texts = [question.text for question in self.questions]
        self.tools = encoder.untuned([head(tool) for tool in family.tools])
        self.words = z(Lexical(family.tools).scores(self.texts))

    def tell(self, what: str, prompts: np.ndarray) -> None:
        scores = prompts @ self.tools.T
        print(row(f"{self.name}, {what}", score(scores, self.questions)), flush=True)
        for loud in (2, 3):
            print(row(f"  words + {loud} of it", score(self.words + loud * z(scores), self.questions)), flush=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--base", type=Path, required=True, help="cache of this training")
    options.add_argument("--mini", type=Path, required=True, help="folder of MiniLM's weights and tokenizer")
    options.add_argument("--without", default="")
    options.add_argument("--out", type=Path, required=True)
    told = options.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    found = families(told.data)
    model = MiniLm.load(told.mini / "model.safetensors")
    published = {name: value.clone() for name, value in model.state_dict().items()}
    encoder = Encoder(model, tokenizer(told.mini / "tokenizer.json"), told.base)
    report = Report(encoder, found[told.without]) if told.without in found else None
    if report:
        report.tell("as published", encoder.untuned(report.texts))
    kept = [family for name, family in found.items() if name != told.without]
    added = train(sets(kept, told.data, encoder), encoder) if kept else {}
    apart = told.base / (f"without-{told.without}" if told.without else "all")
    apart.mkdir(parents=True, exist_ok=True)
    torch.save(added, apart / "lowrank.pt")
    onnxfile.write(published, told.out, added)
    print(f"{told.out}: tuned on {', '.join(f.name for f in kept) or 'nothing'}")
    if report:
        report.tell("tuned, held out", encoder.vectors(report.texts))


if __name__ == "__main__":
    main()
