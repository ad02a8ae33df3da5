"""Recall, nDCG and BM25 in Python, for hard negatives and for orientation. The real measurement is `mcp-hub eval`."""

import re

import numpy as np
import scipy.sparse as sparse
import snowballstemmer

from data import STOP, Question, Tool, properties, split

STEM = snowballstemmer.stemmer("english")


def terms(text: str) -> list[str]:
    words = [w.lower() for w in re.findall(r"\w+", split(text))]
    return STEM.stemWords([w for w in words if w not in STOP])


def schema_text(schema) -> str:
    told = []
    for name, inner in list(properties(schema).items())[:40]:
        told.append(name)
        if isinstance(inner, dict):
            told.append(str(inner.get("description") or "")[:300])
            told += [str(e) for e in (inner.get("enum") or [])[:20]]
    return " ".join(told)


class Lexical:
    """BM25 over name (three times), server, description and parameters."""

    def __init__(self, tools: list[Tool], k1=1.2, b=0.6):
        self.words: dict[str, int] = {}
        rows, columns, values, lengths = [], [], [], []
        for at, tool in enumerate(tools):
            counted: dict[int, float] = {}
            for text, weight in ((tool.name, 3.0), (tool.server, 1.0), (tool.description, 1.5), (schema_text(tool.schema), 0.7)):
                for term in terms(text):
                    column = self.words.setdefault(term, len(self.words))
                    counted[column] = counted.get(column, 0.0) + weight
            lengths.append(sum(counted.values()))
            rows += [at] * len(counted)
            columns += counted.keys()
            values += counted.values()
        matrix = sparse.csr_matrix((values, (rows, columns)), shape=(len(tools), len(self.words)), dtype=np.float32)
        mean = max(np.mean(lengths), 1e-6)
        seen = np.bincount(matrix.indices, minlength=len(self.words))
        idf = np.log(1 + (len(tools) - seen + 0.5) / (seen + 0.5))
        norm = k1 * (1 - b + b * np.asarray(lengths) / mean)
        matrix.data = matrix.data * (k1 + 1) / (matrix.data + np.repeat(norm, np.diff(matrix.indptr)))
        self.weights = (matrix @ sparse.diags(idf)).T.tocsr()

    def scores(self, texts: list[str]) -> np.ndarray:
        rows, columns = [], []
        for at, text in enumerate(texts):
            for term in set(terms(text)):
                if term in self.words:
                    rows.append(at)
                    columns.append(self.words[term])
        asked = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(self.words)), dtype=np.float32)
        return np.asarray((asked @ self.weights).todense(), dtype=np.float32)


def z(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True).clip(1e-6)


def score(scores: np.ndarray, questions: list[Question], at=(1, 5, 10, 20)) -> dict[str, float]:
    found = {k: 0.0 for k in at}
    gain = 0.0
    limit = min(max(at) + 20, scores.shape[1])
    for row, question in zip(scores, questions):
        top = np.argpartition(-row, limit - 1)[:limit]
        top = top[np.argsort(-row[top], kind="stable")]
        place = {int(t): p for p, t in enumerate(top)}
        ranks = sorted(min((place.get(g, 10**6) for g in element), default=10**6) for element in question.gold)
        for k in at:
            found[k] += np.mean([r < k for r in ranks])
        ideal = sum(1 / np.log2(p + 2) for p in range(min(len(ranks), 5)))
        # A twin of a tool above it takes no rank of its own, as in the list that a caller gets.
        gain += sum(1 / np.log2(r + 2) for r in ranks if r < 5) / ideal
    n = len(questions)
    return {**{f"R@{k}": 100 * v / n for k, v in found.items()}, "nDCG@5": 100 * gain / n}


def told(name: str, figures: dict[str, float]) -> str:
    return f"{name:34} " + "  ".join(f"{k} {v:5.1f}" for k, v in figures.items())
