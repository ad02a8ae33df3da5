"""Trains the learned ranker: a linear listwise model (softmax over the candidates of a question) over the dumped features.

It is regularized towards the fixed fusion. Boosted trees in its place, with three families to learn from, lose 4 to 7 points of R@20 on
the held-out one.

`rank.py --dumps DIR --prefix static --out ranker-static.json` prints the leave-one-family-out table and writes the model of all families.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

PRIOR, TOP = 1.0, 60
# The strength of the regularization towards the fixed fusion. It is the lowest with which held-out families do not lose.
PULLS = {"static": 0.2, "full": 0.3}
SHARES = ("fused", "cover", "cover_name", "name_cover", "name_exact", "bigrams", "server_z")


@dataclass
class Dump:
    names: list[str]
    labels: np.ndarray
    features: np.ndarray
    groups: np.ndarray
    missing: np.ndarray
    pools: np.ndarray

    @staticmethod
    def read(stem: Path) -> "Dump":
        told = json.loads(Path(f"{stem}.json").read_text())
        rows = np.fromfile(f"{stem}.rank.f32", "<f4").reshape(-1, len(told["features"]) + 1)
        return Dump(told["features"], rows[:, 0], rows[:, 1:], *(np.array(told[k]) for k in ("groups", "gold_missing", "pools")))

    def whole(self) -> "Dump":
        """Only the rankings of all tools, without those of smaller pools."""
        kept = self.pools == self.pools.max()
        rows = np.repeat(kept, self.groups)
        return Dump(self.names, self.labels[rows], self.features[rows], self.groups[kept], self.missing[kept], self.pools[kept])

    def column(self, name: str) -> np.ndarray:
        return self.features[:, self.names.index(name)]


def read_all(folder: Path, prefix: str) -> dict[str, Dump]:
    stems = [str(path)[: -len(".json")] for path in sorted(folder.glob(f"{prefix}-*.json"))]
    return {Path(stem).name.removeprefix(f"{prefix}-"): Dump.read(stem) for stem in stems}


def usable(dumps: list[Dump]) -> list[int]:
    """The features without those that identify the data set instead of the tool (sizes, lengths), and without constant ones."""
    names = dumps[0].names
    spoken = [any(d.features[:, at].any() for d in dumps) for at in range(len(names))]
    return [at for at, name in enumerate(names) if spoken[at] and (name.endswith(".z") or name in SHARES) and not name.startswith("memory")]


def lists(dump: Dump, columns: list[int]):
    """[question, candidate, feature] of the best candidates by the fixed fusion, labels and mask, without questions that have no right one."""
    count = len(dump.groups)
    x = np.zeros((count, TOP, len(columns)), np.float32)
    y, mask = np.zeros((count, TOP), np.float32), np.zeros((count, TOP), bool)
    fused, start = dump.column("fused"), 0
    for at, size in enumerate(dump.groups):
        best = start + np.argsort(-fused[start : start + size], kind="stable")[:TOP]
        x[at, : len(best)] = dump.features[best][:, columns]
        y[at, : len(best)] = dump.labels[best]
        mask[at, : len(best)] = True
        start += size
    kept = y.sum(1) > 0
    return torch.from_numpy(x[kept]), torch.from_numpy(y[kept]), torch.from_numpy(mask[kept])


def train(dumps: list[Dump], columns: list[int], pull: float) -> np.ndarray:
    """A weight for each column. Every family has the same weight."""
    sets = [lists(dump, columns) for dump in dumps]
    scale = torch.stack([x.reshape(-1, len(columns)).std(0) for x, _, _ in sets]).mean(0).clamp(min=1e-3)
    prior = torch.zeros(len(columns))
    fused = [dumps[0].names[c] for c in columns].index("fused")
    prior[fused] = PRIOR * scale[fused]
    weight = prior.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([weight], max_iter=80, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        total = pull * ((weight - prior) ** 2).sum()
        for x, y, mask in sets:
            likely = torch.log_softmax((x / scale @ weight).masked_fill(~mask, -1e4), 1)
            total = total - ((likely * y).sum(1) / y.sum(1)).mean() / len(sets)
        total.backward()
        return total

    optimiser.step(loss)
    return (weight.detach() / scale).numpy()


def figures(dump: Dump, scores: np.ndarray) -> dict[str, float]:
    """Each twin counts by itself, so BFCL looks worse than by `mcp-hub eval`. For comparing rankers only."""
    out = {"R@5": 0.0, "R@10": 0.0, "R@20": 0.0, "nDCG@5": 0.0}
    start = 0
    for size, missing in zip(dump.groups, dump.missing):
        labels = dump.labels[start : start + size][np.argsort(-scores[start : start + size], kind="stable")]
        start += size
        gold = labels.sum() + missing
        if gold == 0:
            continue
        for k in (5, 10, 20):
            out[f"R@{k}"] += labels[:k].sum() / min(gold, k)
        ideal = sum(1 / np.log2(p + 2) for p in range(int(min(gold, 5))))
        out["nDCG@5"] += sum(l / np.log2(p + 2) for p, l in enumerate(labels[:5])) / ideal
    return {k: 100 * v / len(dump.groups) for k, v in out.items()}


def told(name: str, values: dict[str, float]) -> str:
    return f"{name:34} " + "  ".join(f"{k} {v:5.1f}" for k, v in values.items())


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--dumps", type=Path, required=True)
    options.add_argument("--prefix", required=True, choices=PULLS)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--held-out", type=Path, help="folder with folders `without-FAMILY`, for rankers that have not seen the family")
    given = options.parse_args()
    torch.set_num_threads(1)
    found = {name: dump.whole() for name, dump in read_all(given.dumps, given.prefix).items()}
    columns = usable(list(found.values()))
    names = [next(iter(found.values())).names[c] for c in columns]

    def write(path: Path, weights: np.ndarray) -> None:
        linear = [round(float(w), 5) for w in weights]
        path.write_text(json.dumps({"features": names, "linear": linear}, separators=(",", ":")) + "\n")

    for name, dump in found.items():
        others = [d for other, d in found.items() if other != name]
        print(told(f"{name}, fixed fusion", figures(dump, dump.column("fused"))))
        if others:
            weights = train(others, columns, PULLS[given.prefix])
            print(told(f"{name}, ranker of the others", figures(dump, dump.features[:, columns] @ weights)), flush=True)
            if given.held_out:
                folder = given.held_out / f"without-{name}"
                folder.mkdir(parents=True, exist_ok=True)
                write(folder / f"ranker-{given.prefix}.json", weights)
    weights = train(list(found.values()), columns, PULLS[given.prefix])
    for name, dump in found.items():
        print(told(f"{name}, ranker of all (seen)", figures(dump, dump.features[:, columns] @ weights)))
    write(given.out, weights)
    print(json.dumps({n: round(float(w), 3) for n, w in zip(names, weights)}))


if __name__ == "__main__":
    main()
