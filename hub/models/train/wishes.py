"""Makes wishes, as people may write them, from the tools of real MCP servers. The transformer learns from them.

`synthetic` in `data.py` copies a description. A model that learns only from that learns to compare words. Here verbs are changed, words
are dropped, parameters get values, and unrelated sentences are added.
"""

import gzip
import json
import random
import re
from pathlib import Path

from data import Family, Tool, imperative, lines, properties, sentences, split, words

SAID = {
    "get": ["show me", "find out", "look up", "what is", "tell me", "give me", "check"],
    "retrieve": ["show me", "pull up", "find", "what are", "give me", "look up"],
    "fetch": ["grab", "show me", "load", "give me", "pull in"],
    "return": ["show me", "what is", "give me"],
    "list": ["show me all", "what are", "which are", "give me an overview of", "show"],
    "search": ["look", "find something", "hunt"],
    "create": ["make", "set up", "add", "start", "put together"],
    "add": ["put in", "include", "attach", "insert"],
    "update": ["change", "edit", "adjust", "correct"],
    "delete": ["remove", "get rid of", "throw away", "drop"],
    "remove": ["delete", "take out", "get rid of"],
    "execute": ["run", "do", "carry out"],
    "generate": ["make", "write", "come up with", "produce"],
    "calculate": ["work out", "compute", "how much is", "what is"],
    "send": ["write", "shoot over", "deliver"],
    "analyze": ["have a look at", "what do you make of", "examine"],
    "convert": ["turn", "change"], "check": ["see", "find out", "verify"], "set": ["change", "put"],
    "read": ["open", "show me", "what is in"], "find": ["look for", "search for", "where is"],
    "perform": ["do", "run"], "run": ["execute", "start"], "extract": ["pull out", "get"], "access": ["open", "use", "see"],
}
ASIDES = [
    "I'm preparing a presentation for tomorrow.", "My boss asked me about this.", "It is for a project at school.",
    "I have been at it all morning.", "I'm new to this.", "We are planning a trip next month.", "My sister recommended it.",
    "I don't have much time.", "Thanks!", "Keep it short, please.",
    "I run a small shop.", "Hi there.", "Our team meets on Monday.", "I just moved here.", "This has to be ready by Friday.", "I'm curious.",
]
OPENINGS = [
    "{}", "{}", "{}", "{}", "please {}", "can you {}?", "could you {} for me?", "I need to {}", "I want to {}", "I'd like to {}",
    "help me {}", "how do I {}?", "is there a way to {}?", "I have to {} today", "would you mind to {}?", "let's {}", "{} for me",
]
VALUES = {
    "city location place region address area destination origin country state": [
        "Paris", "Berlin", "New York", "Tokyo", "Austin, Texas", "Italy", "Sydney", "Seoul",
    ],
    "query q search keyword keywords topic term prompt subject question": [
        "climate change", "running shoes", "machine learning", "jazz", "electric cars", "healthy recipes", "solar power",
    ],
    "date day start end since until from to": ["March 3rd", "next Friday", "2024-05-01", "last week", "tomorrow"],
    "url link website domain page": ["https://example.com/news", "example.org", "https://shop.example.com"],
    "symbol ticker coin token currency asset": ["AAPL", "Tesla", "bitcoin", "ETH", "EUR", "MSFT"],
    "user username name author owner player artist person": ["Anna", "John Smith", "mike92", "Dr. Lee", "Taylor Swift"],
    "email recipient": ["anna@example.com", "the sales team"],
    "path file filename dir directory folder": ["report.pdf", "/home/me/notes.txt", "my downloads", "budget.xlsx"],
    "limit count number size amount quantity": ["10", "three", "250", "five"],
    "language lang": ["French", "Spanish", "Japanese"],
    "text content message body description comment note": ["\"see you at noon\"", "\"the meeting is moved to 3 pm\"", "\"buy milk\""],
    "repo repository project branch": ["acme/website", "the website project", "main"],
    "title": ["\"Weekly plan\"", "The Hobbit", "\"Q3 report\""], "year": ["2023", "1999"], "id uid slug": ["4711", "A-203", "x8f2"],
}
FILLED = {key: values for keys, values in VALUES.items() for key in keys.split()}
EXAMPLE = re.compile(r"(?:e\.g\.?,?|for example,?|example:|such as)\s*['\"`]?([\w .:/@-]{2,24})", re.I)
# Openings of descriptions that say nothing about the tool.
TELLING = re.compile(
    r"^(?:(?:this|the) (?:tool|function|endpoint|api|method) )?"
    r"(?:is used to|can be used to|allows? (?:you|users) to|lets? you|enables? (?:you|users) to|used to|(?:a )?tools? (?:to|for|that))\s+",
    re.I,
)


def value(name: str, schema, rng: random.Random) -> str | None:
    """A value that somebody could have written for a parameter."""
    told = schema if isinstance(schema, dict) else {}
    if isinstance(told.get("enum"), list) and told["enum"]:
        return str(rng.choice(told["enum"]))
    example = EXAMPLE.search(str(told.get("description") or ""))
    if example:
        return example.group(1).strip()
    last = (words(name).split() or [""])[-1]
    return rng.choice(FILLED[last]) if last in FILLED else None


def reworded(wish: str, rng: random.Random) -> str:
    first, _, rest = wish.partition(" ")
    if first in SAID and rng.random() < 0.6:
        first = rng.choice(SAID[first])
    elif rng.random() < 0.15:  # only the thing, like "the weather in Paris"
        first = ""
    dropped = rng.choice([0.0, 0.0, 0.15, 0.3])
    kept = [w for w in rest.split()[: rng.choice([8, 14, 24])] if rng.random() >= dropped]
    return " ".join([first, *(kept or rest.split())]).strip()


def filled(tool: Tool, rng: random.Random) -> str:
    """Values of parameters, like ` for Paris and 10`. Empty if no parameter has a value."""
    found = [(name, value(name, schema, rng)) for name, schema in properties(tool.schema).items()]
    found = [(words(name), told) for name, told in found if told]
    if not found:
        return ""
    some = rng.sample(found, min(len(found), rng.choice([1, 1, 2])))
    style = rng.random()
    if style < 0.6:
        return f" {rng.choice(['for', 'with', 'of', 'about', 'in'])} " + " and ".join(told for _, told in some)
    if style < 0.8:
        return ", " + ", ".join(f"{name} {told}" for name, told in some)
    return " where " + " and ".join(f"{name} is {told}" for name, told in some)


def said(wish: str, rng: random.Random) -> str:
    """The wish with an opening, and sometimes with unrelated sentences."""
    asking = re.match(r"(what|which|how|where)\b", wish)
    text = f"{wish}?" if asking else rng.choice(OPENINGS).format(wish)
    if rng.random() < 0.5:
        text = text[:1].upper() + text[1:]
    around = rng.random()
    if around < 0.15:
        text = f"{rng.choice(ASIDES)} {text}"
    elif around < 0.25:
        text = f"{text}. {rng.choice(ASIDES)}"
    return text


def wishes(tools: list[Tool], seed: int) -> list[tuple[str, int]]:
    """One wish per tool."""
    rng = random.Random(seed)
    made = []
    for at, tool in enumerate(tools):
        told = sentences(tool.description)
        if not told:
            continue
        source = rng.choice(told[:2]) if rng.random() < 0.3 else told[0]
        wish = reworded(imperative(TELLING.sub("", source)), rng)
        if rng.random() < 0.2:
            wish = reworded(words(tool.name), rng)
        if rng.random() < 0.55:
            wish += filled(tool, rng)
        server = split(tool.server).removesuffix(" Server").removesuffix(" MCP")
        if server and rng.random() < 0.2:
            wish += f" {rng.choice(['in', 'with', 'using', 'on'])} {server}"
        made.append((said(wish, rng), at))
    return made


def servers(folder: Path) -> tuple[Family, list[tuple[str, int]]]:
    """Real servers in place of tools, and wishes for one of their tools. A server's description advertises where a tool's describes."""
    rows, path = [], folder / "toucan_mcp_servers_full.jsonl.gz"
    if path.exists():
        rows += [(row["server"], row.get("overview"), row["tools"]) for row in lines(path)]
    path = folder / "mcp_zero_308x2797.json.gz"
    if path.exists():
        rows += [(row["name"], row.get("description"), row["tools"]) for row in json.load(gzip.open(path, "rt"))]
    hosts, made, seen = [], [], set()
    for name, overview, tools in rows:
        if not overview or name.lower() in seen:
            continue
        seen.add(name.lower())
        hosts.append(Tool("", re.sub(r"\b(mcp|server)\b", "", name, flags=re.I).strip() or name, overview, None))
        inner = [Tool("", t["name"], t.get("description") or "", t.get("inputSchema")) for t in tools]
        some = random.Random(len(hosts)).sample(inner, min(len(inner), 4))
        made += [(wish, len(hosts) - 1) for wish, _ in wishes(some, len(hosts))]
    return Family("servers", hosts), made
