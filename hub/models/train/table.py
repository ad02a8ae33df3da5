"""The static table: MiniLM's vector of each token alone, PCA to 256 dimensions, weighted by rarity, int8 per row.

Format of `static.bin`, little endian: b"MHSTAT01", u32 rows, u32 width, rows x f32 scale, rows x width x i8.
Vector of a text = sum over its tokens (no [CLS]/[SEP], at most 512) of scale[t] * row[t], normalized.
"""

import struct
from pathlib import Path

import numpy as np
import torch

from encoder import VOCABULARY, CLS, SEP, MiniLm

WIDTH = 256
RARE = 1e-4


def distil(model: MiniLm) -> np.ndarray:
    ids = torch.arange(VOCABULARY)
    rows = []
    with torch.inference_mode():
        for part in ids.split(2048):
            tokens = torch.stack([torch.full_like(part, CLS), part, torch.full_like(part, SEP)], dim=1)
            rows.append(model(tokens, torch.ones_like(tokens)).numpy())
    table = np.concatenate(rows)
    table = table - table[1000:].mean(0)
    _, _, axes = np.linalg.svd(table[1000:][::3], full_matrices=False)
    return table @ axes[:WIDTH].T


def weighted(table: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Weights by smooth inverse frequency. The frequency of a token that the corpus does not have is estimated from its position in the
    vocabulary (Zipf). Norms are kept, because after centering a token that means little has a short vector."""
    places = np.arange(len(counts)) + 1.0
    zipf = 1.0 / (places * np.log(len(counts)))
    seen = (counts + zipf * 1e5) / (counts.sum() + 1e5)
    out = table * (RARE / (RARE + seen))[:, None]
    out[:999] = 0.0  # [PAD] … [unused]
    return out.astype(np.float32)


def save(table: np.ndarray, path: Path) -> None:
    scale = np.abs(table).max(axis=1) / 127.0
    rows = np.where(scale[:, None] > 0, np.round(table / np.maximum(scale, 1e-12)[:, None]), 0).astype(np.int8)
    with open(path, "wb") as file:
        file.write(b"MHSTAT01" + struct.pack("<II", *table.shape))
        file.write(scale.astype("<f4").tobytes())
        file.write(rows.tobytes())


def load(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    magic, rows, width = struct.unpack("<8sII", raw[:16])
    assert magic == b"MHSTAT01"
    scale = np.frombuffer(raw, "<f4", rows, 16)
    return np.frombuffer(raw, np.int8, rows * width, 16 + 4 * rows).reshape(rows, width) * scale[:, None]


def vectors(table: np.ndarray, ids: list[list[int]], limit: int = 512) -> np.ndarray:
    out = np.stack([table[i[:limit]].sum(0) if i else np.zeros(table.shape[1]) for i in ids])
    return (out / np.linalg.norm(out, axis=1, keepdims=True).clip(1e-9)).astype(np.float32)
