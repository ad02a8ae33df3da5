"""The floor: how likely it is that anything fits, by logistic regression over what the signals say of a whole answer.

Few statistics, and those that carry over: how far the best is above the tenth, how much of the prompt it says, its cosines.
More of them fit the families that they were fitted to better, and one that was held out worse.
Those of the ranker's own score are left out, so that a new ranker does not move the floor. The threshold is the
lowest of those that keep false abstention at 5 % on each family, and lower still by half of what the level of a family sank
that was held out: a hub whose tools are unlike all of these would else be told "nothing fits" for a third of its questions.
Fitted to answers from all tools and from a few, as hubs are of any size.
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
# How much of what the level of a held-out family sank by the threshold is lowered: all of it, and nothing is ever said to
# fit nothing; none of it, and a third of MetaTool's questions are.
SUNK = 0.5
STATISTICS = {
    "static": ("fused_gap10", "cover1", "name_cover1", "bigrams_best", "static1"),
    "full": ("fused_gap10", "cover1", "name_cover1", "bigrams_best", "encoder1"),
}
STRENGTH = 0.003


@dataclass
class Answers:
    """Statistics of answers, with and without what is right among the tools, and how many tools there were."""

    names: list[str]
    labels: np.ndarray
    rows: np.ndarray
    pools: np.ndarray


def read(stem: str) -> Answers:
    told = json.loads(Path(f"{stem}.json").read_text())
    rows = np.fromfile(f"{stem}.floor.f32", "<f4").reshape(-1, len(told["stats"]) + 1)
    return Answers(told["stats"], rows[:, 0], rows[:, 1:].astype(np.float64), np.repeat(told["pools"], 2))


def fit(sets, columns):
    """Mean and scale, and a model in which every family says as much as every other."""
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
    """The threshold that no family has more than `FALSE` of its answerable questions under."""
    return min(float(np.quantile(likely(fitted, rows, columns)[labels > 0], FALSE)) for labels, rows in sets.values())


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def written(names, columns, fitted, threshold: float) -> dict:
    mean, scale, model = fitted
    rounded = lambda values: [round(float(v), 6) for v in values]
    return {"features": [names[c] for c in columns], "mean": rounded(mean), "scale": rounded(scale),
            "weights": rounded(model.coef_[0]), "bias": round(float(model.intercept_[0]), 6), "threshold": round(threshold, 4)}


def rule(sets, columns):
    """A model of some families and its threshold: the lowest of theirs, less a part of what it sank by for one of them that
    the others were fitted without."""
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
    """Score of a hit: how likely it is right, by the ranker's score of it (the best 20 of each question) and the logarithm
    of the tools it was chosen from: a score that is high among ten tools is nothing among thousands."""
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
    options.add_argument("--held-out", type=Path, help="folder of folders `without-FAMILY`, for floors that have not seen the family")
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
