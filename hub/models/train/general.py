"""Prompts for tools that serve when no other tool does: a web search, a calculator, a shell. Their descriptions do not mention the topic
of a prompt.
"""

import random
import re

from data import Family, Question, Tool

ABOUT = [
    "Marie Curie", "the Marshall Plan", "quantum computing", "Ada Lovelace", "sourdough", "the Treaty of Tordesillas", "Usain Bolt", "Vincent van Gogh",
    "black holes", "Kubernetes operators", "the Hanseatic League", "lithium batteries", "Nelson Mandela", "Roger Federer", "the Krebs cycle", "ocean currents",
    "Hedy Lamarr", "the Suez crisis", "retrieval augmented generation", "Frida Kahlo", "tax law in Norway", "origami", "vitamin D", "the Boxer Rebellion",
    "Linus Torvalds", "glass blowing", "the best hiking boots", "electric buses", "Studio Ghibli", "Lionel Messi", "the Silk Road", "permafrost",
    "how violins are made", "why the sky is blue", "starting a podcast", "the new European battery rules", "WebAssembly", "Toni Morrison", "salary negotiation",
    "the Rosetta mission", "Ming dynasty porcelain", "Sachin Tendulkar", "sleep and memory", "fermented tea", "the Bauhaus", "wild bees",
]
SEARCHES = [
    "who is {}?", "what is {}?", "what do you know about {}", "tell me about {}", "tell me more about {}, please", "find some information on {}", "look up {}",
    "can you search for '{}'?", "search for {}", "I'd like to read about {}", "what happened with {} lately?", "any news about {}?", "google {} for me",
    "where can I learn about {}?", "{}", "I wonder about {}", "find out more on {} and sum it up", "research {}", "give me recent articles on {}",
]
SUMS = {
    r"\b(adds?|sum)\b.{0,25}\bnumbers?\b": [
        "what is {a} plus {b}?", "{a} + {b}", "{a} and {b} together", "I have {a} apples and buy {b} more. How many are there?", "how much do I get if I put {a} on top of {b}",
    ],
    r"\bsubtract": [
        "what is {a} minus {b}?", "{a} - {b}", "take {b} from {a}", "I had {a} dollars and spent {b}. What is left?", "there were {a} birds, {b} flew away, how many stayed?",
    ],
    r"\bmultipl(y|ies)\b": [
        "what is {a} times {b}?", "{a} * {b}", "{a} x {b}", "{c} boxes with {a} eggs each, how many eggs?", "{c} people pay {b} euros each, what is that altogether?",
    ],
    r"\bdivides?\b": ["what is {a} divided by {b}?", "{a} / {b}", "share {a} sweets between {c} children", "{a} split into {c} parts", "how often does {b} fit into {a}?"],
    r"arithmetic calc|mathematical expression": ["what is ({a} + {b}) * {c}?", "{a} * {c} - {b}", "work out {a} to the power of {c}", "{a} times {b}", "how much is {b} plus {c}?"],
}
SHELL = [
    "which process uses port 8080?", "run ls -la in my home", "git status, please", "how much disk space is left? use df -h", "open the browser from the command line",
    "is node installed? try node --version", "show my IP address with ip addr", "start notepad", "what is in the folder /var/log?", "make a folder named photos with mkdir",
    "ping example.com", "stop the nginx service", "which version of python is on this machine", "list everything on drive D", "launch the terminal editor",
    "copy a.txt to b.txt with cp", "restart the computer", "who is logged in, use whoami", "see whether the database is up using systemctl", "end the program that hangs",
    "install curl with apt", "unpack the archive with tar", "what does top show", "lock the screen by a command", "open a website with xdg-open", "switch off bluetooth using rfkill",
]
SEARCHING = re.compile(r"\bsearch\w*\b.{0,30}\b(the )?(web|internet|google|bing|duckduckgo)\b|\b(web|google|bing|duckduckgo) search", re.I)
COUNTING = re.compile(r"\b(numbers?|integers?)\b|arithmetic calc|mathematical expression", re.I)
# These search for one thing only, or count something else.
SPECIAL = re.compile(r"image|video|drive|place|scholar|news|google.play|linkedin|tasks|common|game", re.I)
RUNNING = re.compile(r"\b(execut\w*|runs?)\b.{0,20}\b(shell|terminal|powershell|windows|command line)\b.{0,10}\b(commands?|scripts?)\b", re.I)
# Prompts per kind.
MADE = 300


def kinds(tools: list[Tool]) -> dict[str, list[int]]:
    """The tools of each kind."""
    found: dict[str, list[int]] = {}
    for at, tool in enumerate(tools):
        told = tool.description[:120]
        if SPECIAL.search(f"{tool.name} {told}"):
            continue
        if SEARCHING.search(told):
            found.setdefault("search", []).append(at)
        elif RUNNING.search(told):
            found.setdefault("shell", []).append(at)
        elif COUNTING.search(told):
            for kind in SUMS:
                if re.search(kind, told, re.I):
                    found.setdefault(kind, []).append(at)
                    break
    return found


def prompt(kind: str, rng: random.Random) -> str:
    if kind == "search":
        said = rng.choice(SEARCHES).format(rng.choice(ABOUT))
    elif kind == "shell":
        said = rng.choice(SHELL)
    else:
        a, b, c = rng.choice([rng.randint(2, 99), rng.randint(100, 999), round(rng.uniform(1, 50), 1)]), rng.randint(2, 60), rng.randint(2, 9)
        said = rng.choice(SUMS[kind]).format(a=a, b=b, c=c)
    opening = rng.choice(["{}"] * 6 + ["please {}", "can you help: {}", "{} thanks", "hey, {}"])
    said = opening.format(said)
    return said[:1].upper() + said[1:] if rng.random() < 0.5 else said


def general(tools: list[Tool], others: int, seed: int) -> tuple[Family, list[tuple[str, int]]]:
    """The tools of these kinds among `others` more tools, and prompts for them. All tools of a kind are right."""
    rng = random.Random(seed)
    found = kinds(tools)
    mine = sorted({at for of in found.values() for at in of})
    left = sorted(set(range(len(tools))) - set(mine))
    kept = mine + rng.sample(left, min(others, len(left)))
    place = {at: new for new, at in enumerate(kept)}
    questions, made = [], []
    for kind, of in found.items():
        for _ in range(MADE):
            text = prompt(kind, rng)
            questions.append(Question(text, [[place[at] for at in of]]))
            made.append((text, place[rng.choice(of)]))
    return Family("general", [tools[at] for at in kept], {"general": questions}), made
