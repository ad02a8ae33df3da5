"""Writes BFCL's single-turn categories as one pool of tools, from PyPI `bfcl-eval` (Apache-2.0).

Usage: `bfcl.py WHEEL FOLDER`.
"""

import gzip
import json
import sys
import zipfile
from pathlib import Path

ANSWERED = "simple_python multiple parallel parallel_multiple simple_java simple_javascript live_simple live_multiple live_parallel live_parallel_multiple"

# Questions of these categories have no right tool. Their functions are in the pool.
UNANSWERED = "irrelevance live_irrelevance live_relevance"


def main(wheel: str, folder: str) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    archive = zipfile.ZipFile(wheel)

    def read(name: str):
        return [json.loads(line) for line in archive.read(f"bfcl_eval/data/{name}.json").splitlines() if line.strip()]

    tools, known, named, asked = [], set(), {}, []
    for category in (ANSWERED + " " + UNANSWERED).split():
        answered = category not in UNANSWERED.split()
        answers = {row["id"]: row["ground_truth"] for row in read(f"possible_answer/BFCL_v4_{category}")} if answered else {}
        for row in read(f"BFCL_v4_{category}"):
            for function in row["function"]:
                key = (function["name"], function.get("description"))
                if key not in known:
                    known.add(key)
                    tool = {"id": f"{function['name']}#{len(tools)}", "server": "", "name": function["name"],
                            "description": function.get("description") or "", "inputSchema": function.get("parameters")}
                    tools.append(tool)
                    named.setdefault(tool["name"], []).append(tool["id"])
            if not answered:
                continue
            wanted = list(dict.fromkeys(name for call in answers.get(row["id"], []) for name in call))
            said = " ".join(m["content"] for turn in row["question"] for m in turn if m["role"] == "user")
            if wanted:
                asked.append((row["id"], said, wanted))
    with gzip.open(out / "tools.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(tool) + "\n" for tool in tools)
    with gzip.open(out / "queries.jsonl.gz", "wt") as file:
        for name, said, wanted in asked:
            gold = [named[w] for w in wanted if w in named]
            if gold:
                file.write(json.dumps({"id": name, "text": said, "gold": gold}) + "\n")
    print(f"bfcl: {len(tools)} tools, {len(asked)} questions")


if __name__ == "__main__":
    main(*sys.argv[1:])
