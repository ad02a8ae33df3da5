"""Sets of tools and questions, and the texts that the encoders see.

A family is a group of sets that are held out together. A model is reported on a family only if it has seen nothing of it.
"""

import gzip
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

STOP = set(
    "a an and are as at be by can could do does for from give have how i in into is it its me my of on or our please so that the their"
    " them then there these this to us using want was we what when where which who will with would you your need help".split()
)


@dataclass
class Tool:
    server: str
    name: str
    description: str
    schema: dict | None


@dataclass
class Question:
    text: str
    gold: list[list[int]]  # each element is a list of equivalent tools


@dataclass
class Family:
    name: str
    tools: list[Tool]
    questions: dict[str, list[Question]] = field(default_factory=dict)


def lines(path: Path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        return [json.loads(line) for line in file if line.strip()]


def split(identifier: str) -> str:
    """`getHTTPUser_v2` -> `get HTTP User v 2`, like `words.rs`."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", identifier)
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text)
    text = re.sub(r"([A-Za-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([A-Za-z])", r"\1 \2", text)
    return " ".join(re.split(r"[^\w]+|_+", text)).strip()


def properties(schema) -> dict:
    return schema.get("properties") or {} if isinstance(schema, dict) else {}


def words(identifier: str) -> str:
    return split(identifier).lower()


def head(tool: Tool) -> str:
    """The text of a tool that both encoders read. A long text loses its end."""
    return f"{words(tool.name)}: {tool.description}"


def read_set(folder: Path, questions: list[Path], name: str) -> Family | None:
    if not (folder / "tools.jsonl.gz").exists():
        return None
    rows = lines(folder / "tools.jsonl.gz")
    place = {row["id"]: at for at, row in enumerate(rows)}
    tools = [Tool(r.get("server") or "", r["name"], r.get("description") or "", r.get("inputSchema")) for r in rows]
    family = Family(name, tools)
    for path in questions:
        if path.exists():
            family.questions[f"{path.parent.name}/{path.name.split('.')[0]}"] = [
                Question(r["text"], [[place[g] for g in ([e] if isinstance(e, str) else e)] for e in r["gold"]]) for r in lines(path)
            ]
    return family


def mcp(folder: Path) -> Family | None:
    """Tools of real MCP servers, from three registries and without duplicates."""
    tools, seen = [], set()

    def add(server, name, description, schema):
        key = (name.lower(), (description or "")[:60].lower())
        if name and description and key not in seen:
            seen.add(key)
            tools.append(Tool(server, name, description, schema))

    path = folder / "toucan_mcp_servers_full.jsonl.gz"
    if path.exists():
        for row in lines(path):
            for t in row["tools"]:
                add(row["server"], t["name"], t.get("description"), t.get("inputSchema"))
    path = folder / "docker_mcp_registry_tools.json.gz"
    if path.exists():
        for row in json.load(gzip.open(path, "rt")):
            for t in row["tools"]:
                add(row["server"], t["name"], t.get("description"), t.get("inputSchema"))
    path = folder / "mcp_zero_308x2797.json.gz"
    if path.exists():
        for row in json.load(gzip.open(path, "rt")):
            for t in row["tools"]:
                schema = {"properties": {k: {"description": str(v)} for k, v in (t.get("parameter") or {}).items()}}
                add(row["name"], t["name"], t.get("description"), schema)
    return Family("mcp", tools) if tools else None


OPENINGS = [
    "{}", "{}", "{}", "Please {}", "Can you {}?", "I need to {}", "I want to {}", "Could you {} for me?", "Help me {}", "How do I {}?", "I'd like to {}",
]
THIRD = re.compile(r"^(\w+?)(es|s)$")


def imperative(sentence: str) -> str:
    """`Retrieves the list …` -> `retrieve the list …`: descriptions use the third person, but prompts do not."""
    words = sentence.split()
    if not words:
        return sentence
    first = words[0].lower()
    if first.endswith("ies"):
        first = first[:-3] + "y"
    elif re.search(r"(ch|sh|ss|x|z)es$", first):
        first = first[:-2]
    elif first.endswith("s") and not first.endswith("ss") and len(first) > 3:
        first = first[:-1]
    return " ".join([first] + words[1:]).rstrip(".")


def sentences(text: str) -> list[str]:
    parts = re.split(r"(?<=[.!?])\s+|\n+", re.sub(r"[`*#<>]", " ", text))
    return [p.strip() for p in parts if len(p.split()) >= 3]


def synthetic(tools: list[Tool], seed: int) -> list[tuple[str, int, str]]:
    """Questions made from tools: (question, tool, document). The document leaves out the text that the question was
    made from. Otherwise an encoder would learn to compare copies."""
    rng = random.Random(seed)
    made = []
    for at, tool in enumerate(tools):
        told = sentences(tool.description)
        if not told:
            continue
        asked = " ".join(imperative(told[0]).split()[:32])
        if rng.random() < 0.5:  # people leave out words
            kept = [w for w in asked.split() if rng.random() > 0.15]
            asked = " ".join(kept) or asked
        server = split(tool.server)
        if server and rng.random() < 0.25:
            asked += f" {rng.choice(['in', 'with', 'using', 'on'])} {server}"
        question = rng.choice(OPENINGS).format(asked)
        made.append((question, at, head(Tool(tool.server, tool.name, " ".join(told[1:])[:400], tool.schema))))
        names = [split(n).lower() for n in properties(tool.schema)]
        if names and rng.random() < 0.5:
            given = " and ".join(rng.sample(names, min(2, len(names))))
            question = rng.choice(OPENINGS).format(f"{words(tool.name)} with {given}")
            made.append((question, at, tool.description))
    return made


def families(folder: Path) -> dict[str, Family]:
    """The families whose files exist. A missing family is reported and skipped."""
    single = folder / "metatool_single"
    seal = folder / "seal_out_domain"
    found = {
        "bfcl": read_set(folder / "bfcl_pool", [folder / "bfcl_pool/queries.jsonl.gz"], "bfcl"),
        "seal": read_set(seal, [seal / "queries.jsonl.gz", folder / "seal_dev/queries.jsonl.gz"], "seal"),
        "metatool": read_set(
            single, [single / "queries.jsonl.gz", single / "queries_all.jsonl.gz", folder / "metatool_multi/queries.jsonl.gz"], "metatool"
        ),
        "mcp": mcp(folder),
    }
    for name, family in found.items():
        if family is None:
            print(f"{name}: no data, skipped")
    return {name: family for name, family in found.items() if family}
