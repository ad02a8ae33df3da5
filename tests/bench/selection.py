"""Measures how well the embedded selector finds tools, and writes SELECTION.md: `make bench-selection`.

Every figure is held out by family: `make model` writes weights that were trained without a set to `without-FAMILY`.
BFCL is built from `bfcl-eval` of PyPI. The other sets are read from the folder MCPHUB_DATA.
"""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("MCPHUB_CACHE") or Path.home() / ".cache/mcphub") / "train"
SETS = [("metatool_single", "metatool", "MetaTool"), ("bfcl_pool", "bfcl", "BFCL"), ("seal_out_domain", "seal", "Seal")]
BACKENDS = [("lexical", "words alone (BM25 by field)"), ("embedding", "MiniLM alone"), ("static", "static"), ("full", "full")]
REMEMBERED = 20
# How many tools and questions of all sets are used to measure times, and to how many words questions are cut. The
# targets are about short prompts.
CROWD, ASKED, WORDS = 5000, 400, 48
# A shared machine is half as fast in some minutes as in others. Times are measured in this many rounds, and the run with
# the middle p50 counts.
ROUNDS = 3
CUTS = [("whole", None), ("cut", WORDS)]
TARGETS = {
    "BFCL": ("recall", {"5": 93, "10": 96, "20": 98}),
    "Seal": ("recall", {"5": 88, "10": 95, "20": 98}),
    "MetaTool": ("ndcg", {"5": 72}),
}
AUC, FALSE = 0.80, 5.0
EXTRA, LOAD = 60, 150


def folder(name: str) -> Path | None:
    """The folder of a set. The one of BFCL is created if it is missing."""
    external = Path(os.environ.get("MCPHUB_DATA") or "/nonexistent") / name
    if (external / "tools.jsonl.gz").exists():
        return external
    if name != "bfcl_pool":
        return None
    made, wheels = CACHE / "data/bfcl_pool", CACHE / "wheels"
    if not (made / "tools.jsonl.gz").exists():
        wheel = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), "bfcl-eval==2026.3.23"]
        subprocess.run(wheel, check=True)
        wheel = next(wheels.glob("bfcl_eval-*.whl"))
        subprocess.run([sys.executable, str(HERE / "../../hub/models/train/bfcl.py"), str(wheel), str(made)], check=True)
    return made


def rows(path: Path) -> list[str]:
    with gzip.open(path, "rt") as file:
        return [line for line in file if line.strip()]


def measure(hub: str, tools: Path, queries: Path, backend: str, out: Path, *more: str) -> dict | None:
    """The result of `mcp-hub eval`. An existing result is reused. With `-` as the program, no new result is made."""
    if not out.exists():
        if hub == "-":
            return None
        call = [hub, "eval", "--json", "--tools", str(tools), "--queries", str(queries), "--backend", backend, *more]
        result = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout
        out.write_text(result)
    return json.loads(out.read_text())


def crowd(work: Path, folders: list[Path], cut: str, words: int | None) -> tuple[Path, Path] | None:
    """One pool of `CROWD` tools of all sets, and questions of all of them. `None` if there are fewer tools."""
    tools, asked = [], []
    for at, data in enumerate(folders):
        mine = [json.loads(row) | {"id": f"{at}:{number}"} for number, row in enumerate(rows(data / "tools.jsonl.gz"))]
        questions = rows(data / "queries.jsonl.gz")
        some = questions[:: max(1, len(questions) // (ASKED // len(folders)))]
        whole = [json.loads(row)["text"] for row in some]
        texts = [" ".join(text.split()[:words]) for text in whole] if words else whole
        tools += mine
        asked += [{"id": f"{at}:{number}", "text": text} for number, text in enumerate(texts)]
    kept = tools[:CROWD] if len(tools) >= CROWD else []
    # Any tool will do as the right answer, but a question without one would be skipped.
    asked = [question | {"gold": [kept[0]["id"]]} for question in asked if kept]
    paths = work / "crowd.tools.jsonl", work / f"crowd-{cut}.queries.jsonl"
    for path, lines in zip(paths, (kept, asked)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths if kept else None


def translated(work: Path, data: Path) -> list[tuple[str, Path]]:
    """The questions of BFCL that `languages.jsonl` translates, and the same questions in English."""
    asked = {question["id"]: question for question in map(json.loads, rows(data / "queries.jsonl.gz"))}
    prompts = [json.loads(line) for line in (HERE / "languages.jsonl").read_text().splitlines()]
    others = [asked[one["question"]] | {"id": str(at), "text": one["text"]} for at, one in enumerate(prompts)]
    english = [asked[one["question"]] | {"id": str(at)} for at, one in enumerate(prompts)]
    made = []
    for name, questions in ((f"{len({one['language'] for one in prompts})} other languages", others), ("the same in English", english)):
        path = work / f"languages-{len(made)}.jsonl"
        path.write_text("".join(json.dumps(question) + "\n" for question in questions))
        made.append((name, path))
    return made


def shuffled(work: Path, queries: Path) -> Path:
    """The questions in random order: `--remember` takes the first ones of each tool."""
    lines = rows(queries)
    random.Random(1).shuffle(lines)
    path = work / "drawn.queries.jsonl"
    path.write_text("".join(lines))
    return path


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def quality(title: str, what: str, r: dict) -> str:
    recall = " | ".join(percent(r["recall"][k]) for k in ("1", "5", "10", "20"))
    ends = [percent(r["ndcg"]["5"]), percent(r["completeness"]["10"]), percent(r["tokens_saved"]["20"])]
    area = "–" if r["abstention_auc"] is None else f"{r['abstention_auc']:.3f}"
    return f"| {title} | {what} | {r['queries']} | {recall} | {' | '.join(ends)} | {area} | {percent(r['false_abstention'])} |"


def cost(title: str, what: str, r: dict, others: list[dict] = ()) -> str:
    times = [f"{r['latency_ms'][at]:.2f}" for at in ("p50", "p95", "p99")]
    if others:
        all_p50 = sorted(other["latency_ms"]["p50"] for other in others)
        times[0] += f" ({all_p50[0]:.2f} to {all_p50[-1]:.2f})"
    return f"| {title}, {r['tools']} tools | {what} | {' | '.join(times)} | {r['load_ms']:.0f} | {r['index_ms'] / 1000:.2f} | {r['rss_bytes'] / 1e6:.0f} |"


def targets(found: dict[tuple[str, str], dict]) -> list[str]:
    """The table of targets, and whether they are met."""
    lines = ["| set | figure | target | static | full |", "|---|---|--:|--:|--:|"]

    def line(title: str, figure: str, target: str, of, met) -> None:
        cells = []
        for backend in ("static", "full"):
            value = of(backend)
            cells.append("–" if value is None else f"{value:.3g}" + ("" if met(value) else " (missed)"))
        lines.append(f"| {title} | {figure} | {target} | {' | '.join(cells)} |")

    for title, (kind, ks) in TARGETS.items():
        for k, target in ks.items():
            of = lambda b: 100 * found[title, b][kind][k] if (title, b) in found else None
            line(title, f"{'nDCG' if kind == 'ndcg' else 'R'}@{k}", f"{target}", of, lambda v: v >= target)
    of = lambda b: 100 * found["remembered", b]["ndcg"]["5"] if ("remembered", b) in found else None
    line("MetaTool", f"nDCG@5, {REMEMBERED} prompts a tool remembered", "84", of, lambda v: v >= 84)

    def mean(backend: str, key: str, factor: float) -> float | None:
        values = [found[t, backend][key] for _, _, t in SETS if (t, backend) in found]
        return factor * sum(values) / len(values) if len(values) == len(SETS) else None

    line("all", "abstention AUC, mean", f"{AUC}", lambda b: mean(b, "abstention_auc", 1), lambda v: v >= AUC)
    line("all", "false abstention, mean, percent", f"≤ {FALSE:.0f}", lambda b: mean(b, "false_abstention", 100), lambda v: v <= FALSE)
    for cut, _ in CUTS:
        crowd = {backend: found.get((f"crowd {cut}", backend)) for backend in ("lexical", "static", "full")}
        if not all(crowd.values()):
            continue
        for backend, target in (("static", 1.0), ("full", 12.0)):
            of = lambda b: crowd[b]["latency_ms"]["p50"] if b == backend else None
            line(f"{CROWD} tools, prompts {cut}", f"p50 in ms, {backend}", f"≤ {target:.0f}", of, lambda v: v <= target)
        of = lambda b: (crowd[b]["rss_bytes"] - crowd["lexical"]["rss_bytes"]) / 1e6
        line(f"{CROWD} tools, prompts {cut}", "memory in MB, more than words alone", f"≤ {EXTRA}", of, lambda v: v <= EXTRA)
        line(f"{CROWD} tools, prompts {cut}", "load in ms", f"≤ {LOAD}", lambda b: crowd[b]["load_ms"], lambda v: v <= LOAD)
    return lines


def main() -> None:
    hub, work = sys.argv[1], Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    found, figures, costs, crowded_costs, missing, sets = {}, [], [], [], [], []
    for name, family, title in SETS:
        data, weights = folder(name), CACHE / f"without-{family}"
        if data and weights.exists():
            sets.append((name, title, data, ("--weights", str(weights))))
            continue
        missing.append(title)
        print(f"{title}: missing ({'MCPHUB_DATA/' + name if not data else str(weights) + ', by `make model`'})")
    # Measure times first, before anything else has warmed up the machine.
    for cut, words in CUTS:
        crowded = crowd(work, [data for _, _, data, _ in sets], cut, words)
        rounds = [
            [measure(hub, *crowded, backend, work / f"crowd-{cut}-{backend}-{at}.json") for backend, _ in BACKENDS]
            for at in range(ROUNDS if crowded else 0)
        ]
        for (backend, what), runs in zip(BACKENDS, zip(*rounds)):
            if all(runs):
                r = sorted(runs, key=lambda run: run["latency_ms"]["p50"])[ROUNDS // 2]
                found[f"crowd {cut}", backend] = r
                crowded_costs.append(cost(f"All together, prompts {cut}", what, r, runs))
                print(crowded_costs[-1], flush=True)
    for name, title, data, held_out in sets:
        tools = data / "tools.jsonl.gz"
        for backend, what in BACKENDS:
            r = measure(hub, tools, data / "queries.jsonl.gz", backend, work / f"{name}-{backend}.json", *held_out)
            if r is None:
                missing.append(f"{title} {what}")
                continue
            found[title, backend] = r
            figures.append(quality(title, what, r))
            costs.append(cost(title, what, r))
            print(figures[-1], flush=True)
        every = data / "queries_all.jsonl.gz"
        orders = [("remembered", "", every), ("drawn", ", drawn at random", shuffled(work, every))] if every.exists() else []
        more = [(kind, f"{REMEMBERED} prompts a tool remembered{what}", path, ("--remember", str(REMEMBERED))) for kind, what, path in orders]
        if title == "BFCL":
            more += [(what, what, path, ()) for what, path in translated(work, data)]
        for kind, what, path, options in more:
            for backend in ("static", "full"):
                r = measure(hub, tools, path, backend, work / f"{name}-{backend}-{kind.replace(' ', '-')}.json", *held_out, *options)
                if r is None:
                    missing.append(f"{title} {backend}, {what}")
                    continue
                found[kind, backend] = r
                figures.append(quality(title, f"{backend}, {what}", r))
                print(figures[-1], flush=True)
    costs += crowded_costs
    left_out = ["Not measured in this run: " + "; ".join(missing) + "."] if missing else []
    load = [f"Load of the machine at the end (1, 5, 15 minutes, {os.cpu_count()} cores): " + ", ".join(f"{l:.1f}" for l in os.getloadavg()) + "; times are upper bounds where that is above zero."]
    text = (HERE / "selection.template.md").read_text()
    for mark, lines in (("TARGETS", targets(found)), ("MISSING", left_out), ("LOAD", load), ("FIGURES", figures), ("COSTS", costs)):
        text = text.replace(f"<!-- {mark} -->", "\n".join(lines))
    (HERE / "SELECTION.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
