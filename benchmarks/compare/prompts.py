"""The prompts that every client sends: 64 of them, of 200 bytes to 20 KB, no two alike.

They go to the clients as a file with one JSON string per line. Request n, counted from 0 in each
process, sends `"{n} {prompt n % 64}"`: no request is the same as another.
"""

import json
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.compare.roster import BUILD

COUNT = 64
SMALLEST, LARGEST = 200, 20_000
PLAIN = """
the of and to a in is that for it as was with be by on not he this are or his from at
which but have an had they you were their one all we can her has there been if more when will would
who so no summarize translate explain function return value customer invoice shipment Paris "quoted"
def class import <html> {"key": 1} C:\\temp https://example.org
"""
FOREIGN = "café naïve €12.50 你好 日本語 Москва"
"""In every fourth prompt: it makes each character of a Python string larger."""


@cache
def prompts() -> tuple[str, ...]:
    """Of sizes that are evenly spread on a logarithmic scale, in an order that mixes them."""
    dice = Random(64)
    ratio = (LARGEST / SMALLEST) ** (1 / (COUNT - 1))
    sizes = [round(SMALLEST * ratio**n) for n in range(COUNT)]
    dice.shuffle(sizes)
    words = (PLAIN.split(), [*PLAIN.split(), *FOREIGN.split()])
    return tuple(_text(size, words[n % 4 == 0], dice) for n, size in enumerate(sizes))


def _text(size: int, words: list[str], dice: Random) -> str:
    """Words and line breaks, `size` bytes of UTF-8."""
    text = ""
    while len(text) < size:
        text += dice.choice(words) + dice.choice("      \n")
    whole = text.encode()[:size].decode(errors="ignore")
    return whole + "." * (size - len(whole.encode()))


def file(folder: Path = BUILD) -> Path:
    """Where the clients find them."""
    path = folder / "prompts.jsonl"
    lines = "".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in prompts())
    if not path.exists() or path.read_text() != lines:
        path.write_text(lines)
    return path


def sent(requests: int) -> int:
    """Bytes that so many requests carry at the least: their prompts as UTF-8, unescaped."""
    sizes = [len(prompt.encode()) for prompt in prompts()]
    whole, rest = divmod(requests, COUNT)
    return whole * sum(sizes) + sum(sizes[:rest])
