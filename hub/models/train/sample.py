"""Writes a sample of a data set that is small enough for the transformer.

Usage: `sample.py OUT TOOLS QUESTIONS TOOLFILE QUESTIONFILE…`. 0 for TOOLS means all of them.
"""

import json
import random
import sys
from pathlib import Path

from data import lines


def main(out: str, most: str, questions: str, tool_file: str, *question_files: str) -> None:
    rng = random.Random(7)
    tools = lines(Path(tool_file))
    asked = [row for path in question_files for row in lines(Path(path))]
    asked = rng.sample(asked, min(int(questions), len(asked)))
    right = {g for row in asked for element in row["gold"] for g in ([element] if isinstance(element, str) else element)}
    if int(most):
        rest = [tool for tool in tools if tool["id"] not in right]
        rng.shuffle(rest)
        tools = [tool for tool in tools if tool["id"] in right] + rest[: max(0, int(most) - len(right))]
        rng.shuffle(tools)
    for name, rows in (("tools", tools), ("queries", asked)):
        Path(f"{out}.{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
