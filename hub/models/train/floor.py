"""Trains the floor: the probability that any tool fits, by logistic regression over the statistics of a ranking.

It uses few statistics, and only those that carry over to other families: the gap between the first and the tenth score, the coverage
of the prompt, and cosines. More statistics fit the training families better, and a held-out one worse.
Statistics of the ranker's score are left out, so that a new ranker does not change the floor.

The threshold is the lowest of those that keep false abstention at 5% on each family, minus half of what the level of a held-out
family sank. Without that, a hub with tools unlike all of these would abstain on a third of its questions.
The training data has rankings of all tools and of a few, because hubs have any size.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from rank import read_all

FALSE = 0.05
# The share of the level by which a held-out family sank that the threshold is lowered by. Range: 0 to 1. At 1, the floor never
# abstains; at 0, it abstains on a third of MetaTool's questions.
SUNK = 0.5
STATISTICS = {
    "static": ("fused_gap10", "cover1", "name_cover1", "bigrams_best", "static1"),
    "full": ("fused_gap10", "cover1", "name_cover1", "bigrams_best", "encoder1"),
}
STRENGTH = 0.003


@dataclass
class Answers:
    """The statistics of rankings with and without the right tools, and the number of tools."""

    names: list[str]
    labels: np.ndarray
    rows: np.ndarray
    pools: np.ndarray


def read(stem: str) -> Answers:
    told = json.loads(Path(f"{stem}.json").read_text())
    rows = np.fromfile(f"{stem}.floor.f32", "<f4").reshape(-1, len(told["stats"]) + 1)
    return Answers(told["stats"], rows[:, 0], rows[:, 1:].astype(np.float64), np.repeat(told["pools"], 2))


def fit(sets, columns):
    """Mean, scale and a model in which every family has the same weight."""
    x = np.concatenate([rows[:, columns] for _, rows in sets])
    y = np.concatenate([labels for labels, _ in sets])
    weight = np.concatenate([np.full(len(labels), 1000.0 / len(labels)) for labels, _ in sets])
    mean, scale = x.mean(0), x.std(0).clip(1e-6)
    model = LogisticRegression(C=STRENGTH, max_iter=500).fit((x - mean) / scale, y, sample_weight=weight)
    return mean, scale, model


def likely(fitted, rows, columns):
    mean, scale, model = fitted
    return model.predict_proba((rows[:, columns] - mean) / scale)[:, 1]


def lowest(fitted, sets, columns) -> float:
    """The highest threshold below which no family has more than `FALSE` of its answerable questions."""
    return min(float(np.quantile(likely(fitted, rows, columns)[labels > 0], FALSE)) for labels, rows in sets.values())


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def written(names, columns, fitted, threshold: float) -> dict:
    mean, scale, model = fitted
    rounded = lambda values: [round(float(v), 6) for v in values]
    return {"features": [names[c] for c in columns], "mean": rounded(mean), "scale": rounded(scale),
            "weights": rounded(model.coef_[0]), "bias": round(float(model.intercept_[0]), 6), "threshold": round(threshold, 4)}


def rule(sets, columns):
    """A model of some families, and its threshold: the lowest of theirs, minus a share of what the level of one of them sinks when it is
    held out."""
    fitted, shift = fit(list(sets.values()), columns), 0.0
    for name, (labels, rows) in sets.items() if len(sets) > 1 else []:
        others = {other: s for other, s in sets.items() if other != name}
        without = fit(list(others.values()), columns)
        level = np.quantile(likely(without, rows, columns)[labels > 0], FALSE)
        shift = min(shift, logit(level) - logit(lowest(without, others, columns)))
    return fitted, 1 / (1 + float(np.exp(-(logit(lowest(fitted, sets, columns)) + SUNK * shift))))


def part(folder: Path, prefix: str, held_out: dict) -> dict:
    stems = [str(p)[: -len(".json")] for p in sorted(folder.glob(f"{prefix}-*.json"))]
    read_in = {Path(s).name.removeprefix(f"{prefix}-"): read(s) for s in stems}
    names = next(iter(read_in.values())).names
    sets = {n: (of.labels, of.rows) for n, of in read_in.items()}
    columns = [names.index(name) for name in STATISTICS[prefix]]
    areas = []

    def report(what: str, of: Answers, fitted, threshold: float) -> None:
        scores, yes, whole = likely(fitted, of.rows, columns), of.labels > 0, of.pools == of.pools.max()
        areas.append(roc_auc_score(of.labels[whole], scores[whole]))
        print(f"{prefix}: {what}: AUC {areas[-1]:.3f} (small pools {roc_auc_score(of.labels[~whole], scores[~whole]):.3f}), "
              f"\"nothing fits\" of {100 * (scores[yes & whole] < threshold).mean():.1f} % answerable "
              f"({100 * (scores[yes & ~whole] < threshold).mean():.1f} %), {100 * (scores[~yes & whole] < threshold).mean():.1f} % not", flush=True)

    for name in sets if len(sets) > 1 else []:
        fitted, threshold = rule({other: s for other, s in sets.items() if other != name}, columns)
        held_out.setdefault(name, {})[prefix] = written(names, columns, fitted, threshold)
        report(f"{name}, held out", read_in[name], fitted, threshold)
    if areas:
        print(f"{prefix}: mean AUC held out {np.mean(areas):.3f}")
    fitted, threshold = rule(sets, columns)
    for name, of in read_in.items():
        report(f"{name}, of all (seen)", of, fitted, threshold)
    return written(names, columns, fitted, threshold)


def hit(folder: Path, prefix: str, ranker: Path) -> list[float]:
    """The probability that a hit is right, from the ranker's score (the best 20 of each question) and the logarithm of the number of tools.
    A score that is high among ten tools means little among thousands."""
    told = json.loads(ranker.read_text())
    x, y = [], []
    for dump in read_all(folder, prefix).values():
        scores = dump.features[:, [dump.names.index(n) for n in told["features"]]] @ np.array(told["linear"])
        pools, start = dump.column("log_pool"), 0
        for size in dump.groups:
            best = start + np.argsort(-scores[start : start + size])[:20]
            x.append(np.stack([scores[best], pools[best]], 1))
            y.append(dump.labels[best])
            start += size
    model = LogisticRegression().fit(np.concatenate(x), np.concatenate(y))
    return [round(float(w), 5) for w in (*model.coef_[0], model.intercept_[0])]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--dumps", type=Path, required=True)
    options.add_argument("--models", type=Path, required=True)
    options.add_argument("--held-out", type=Path, help="folder with folders `without-FAMILY`, for floors that have not seen the family")
    given = options.parse_args()
    out, held_out = {}, {}
    for prefix in ("static", "full"):
        if any(given.dumps.glob(f"{prefix}-*.json")):
            out[prefix] = part(given.dumps, prefix, held_out)
            out[prefix]["hit"] = hit(given.dumps, prefix, given.models / f"ranker-{prefix}.json")
    for name, floors in held_out.items() if given.held_out else []:
        folder = given.held_out / f"without-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "floor.json").write_text(json.dumps(floors, separators=(",", ":")) + "\n")
    (given.models / "floor.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
