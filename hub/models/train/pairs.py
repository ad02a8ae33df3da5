"""Pairs (question, text of a tool) that encoders are trained on, family by family."""

import random

from data import Family, Tool, head, synthetic, words

# How many of MetaTool's 20,614 questions are used per tool. More would drown the other families.
PER_TOOL = 30


def pairs(family: Family, seed: int) -> list[tuple[str, int, str]]:
    """(question, number of the tool, text of the tool). Tools with the same number are no negatives of each other."""
    rng = random.Random(seed)
    if family.name == "mcp":
        return synthetic(family.tools, seed)
    made, used = [], {}
    for name, questions in family.questions.items():
        if name.endswith("metatool_single/queries"):  # `queries_all` has all of them
            continue
        order = list(questions)
        rng.shuffle(order)
        for question in order:
            for element in question.gold:
                tool = rng.choice(element)
                used[tool] = used.get(tool, 0) + 1
                if used[tool] <= PER_TOOL:
                    made.append((question.text, tool, head(family.tools[tool])))
    # Tools without questions are trained on their own words.
    if family.name == "seal":
        made += synthetic(family.tools, seed)
    return made


def identity(family: Family) -> list[int]:
    """The number of each tool. Twins share a number."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(tool.name.lower(), len(numbers)) for tool in family.tools]


def variant(tool: Tool, text: str, rng: random.Random) -> str:
    """Sometimes only the name, or only the description, because a tool must be found by either."""
    chance = rng.random()
    if chance < 0.15 and tool.name:
        return f"{words(tool.server)} {words(tool.name)}".strip()
    if chance < 0.3 and len(tool.description.split()) > 4:
        return tool.description
    return text
