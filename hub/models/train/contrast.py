"""Contrastive training of the static table. It is an embedding bag, so it takes seconds."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from data import Family
from encoder import Tokenizer
from pairs import identity, pairs, variant

BATCH, TEMPERATURE = 384, 0.05


def bag(ids: list[list[int]]):
    offsets = np.cumsum([0] + [len(i) for i in ids[:-1]])
    flat = [t for i in ids for t in i] or [0]
    return torch.tensor(flat), torch.tensor(offsets)


def train(table: np.ndarray, families: list[Family], tok: Tokenizer, steps=300, rate=2e-3, pull=0.0, seed=7, limit=96, log=0):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    start = torch.from_numpy(table.astype(np.float32))
    rows = nn.EmbeddingBag.from_pretrained(start.clone(), freeze=False, mode="sum", sparse=True)
    optimiser = torch.optim.SparseAdam(rows.parameters(), lr=rate)
    prepared = []
    for family in families:
        made = pairs(family, seed)
        asked = [e.ids[:64] for e in tok.encode_batch([p[0] for p in made], add_special_tokens=False)]
        told = [variant(family.tools[p[1]], p[2], rng) for p in made]
        told = [e.ids[:limit] for e in tok.encode_batch(told, add_special_tokens=False)]
        same = identity(family)
        prepared.append((asked, told, np.array([same[p[1]] for p in made])))
    for step in range(steps):
        asked, told, number = prepared[step % len(prepared)]
        pick = rng.sample(range(len(asked)), min(BATCH, len(asked)))
        q = F.normalize(rows(*bag([asked[i] for i in pick])), dim=-1)
        d = F.normalize(rows(*bag([told[i] for i in pick])), dim=-1)
        numbers = torch.from_numpy(number[pick])
        same = (numbers[:, None] == numbers[None, :]) & ~torch.eye(len(pick), dtype=torch.bool)
        scores = (q @ d.T / TEMPERATURE).masked_fill(same, -1e4)
        answer = torch.arange(len(pick))
        loss = F.cross_entropy(scores, answer) + 0.3 * F.cross_entropy(scores.T, answer)
        optimiser.zero_grad()
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (steps - step) / (0.7 * steps))
        loss.backward()
        optimiser.step()
        if log and step % log < len(prepared):
            print(step, families[step % len(prepared)].name, f"{loss.item():.3f}", flush=True)
    trained = rows.weight.detach()
    return (trained if not pull else trained * (1 - pull) + start * pull).numpy()
