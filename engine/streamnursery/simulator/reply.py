"""What a simulated model says: words that follow from the model, the prompt and the seed.

Rule 1: equal model, messages, seed and salt give equal words; a smaller `max_tokens` or a
        `stop` only cuts them short. Models differ, so that a spliced answer is seen.
Rule 2: tokens are the deltas that are sent, and usage counts them; a tool call's opening and
        each fragment of its arguments are one each.
Rule 3: a last message that is the assistant's is gone on with: what is said after it is the rest
        of what the same model would have said, or another one's words.
Rule 4: where JSON is asked for, it is said: what the schema describes, or an object of one's own.
Rule 5: choices speak in turn, one token each; within a choice reasoning comes first.
"""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import zip_longest
from random import Random
from typing import Any

import attrs
import msgspec

from streamnursery.simulator.json_values import json_text
from streamnursery.simulator.question import MAX_OUTPUT, Question
from streamnursery.simulator.script import CallTool, Reasoning, Refuse, Respond, Restate, Script
from streamnursery.wire.openai_chat.server import Part

_TEXT = """
a about above after again air all also always an and another any are around as ask at away back be
because been before begin between blue both bridge but by call can children, city close, cloud
come could day, deep different does down each early earth. end enough even every eye far few find
first, five for forest from full garden give glass go good. grass great green grow half hand have
he heat here, high hill home. house how however, idea if important in into island it its just keep
kind known land large late, leaf learn left letter life light, like line little long look low made
make many matter may measure miles moon. more morning most mountain move much music must name near
need never new next night, no north not now number of off often old on once one only open or other
our out over own page paper part people place plant play point quick quite rain. read red right
river road rock round run same scatter sea second see sentence shade short, should show side
simple since six sky, slow small snow so some song soon sound south stars start still stone story.
strong such summer sun sure table take ten than that the their them then there these they thing
think this those thought. three through time to together too toward tree true turn two under until
up us very violet walk warm was watch water, wave way we week well west what when where which
while white why wide will wind winter with without word work world would write year yellow yes,
you young café naïve señor über Zürich. straße 東京 море, 🌊 ∑
"""
WORDS = tuple(_TEXT.split())


@attrs.frozen
class ReplyToolCall:
    """A tool call, as text."""

    id: str
    function: str
    fragments: tuple[str, ...]

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)


@attrs.frozen
class ReplyChoice:
    """One of the `n` answers, token by token."""

    finish: str
    words: tuple[str, ...] = ()
    refused: bool = False
    """The words are a refusal."""
    reasoning: tuple[str, ...] = ()
    reasoning_field: Part = "reasoning_content"
    calls: tuple[ReplyToolCall, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def output_tokens(self) -> int:
        calls = sum(1 + len(call.fragments) for call in self.calls)
        return len(self.reasoning) + len(self.words) + calls

    def deltas(self) -> Iterator[tuple[Part, Any]]:
        """Field and content of each delta."""
        for word in self.reasoning:
            yield self.reasoning_field, word
        part: Part = "refusal" if self.refused else "content"
        for word in self.words:
            yield part, word
        for index, call in enumerate(self.calls):
            opening = {"name": call.function, "arguments": ""}
            delta = {"index": index, "id": call.id, "type": "function", "function": opening}
            yield "tool_calls", [delta]
            for fragment in call.fragments:
                yield "tool_calls", [{"index": index, "function": {"arguments": fragment}}]


@attrs.frozen
class Reply:
    """All that a provider means to say to one request."""

    choices: tuple[ReplyChoice, ...] = attrs.field(repr=False)
    input_tokens: int
    cached_tokens: int = 0
    """Of the input, that the server had computed before."""

    @property
    def output_tokens(self) -> int:
        return sum(choice.output_tokens for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        return sum(len(choice.reasoning) for choice in self.choices)

    def deltas(self) -> Iterator[tuple[int, Part, Any]]:
        """All deltas in the order of sending, with the index of their choice."""
        if len(self.choices) == 1:
            for part, content in self.choices[0].deltas():
                yield 0, part, content
            return
        for turn in zip_longest(*(choice.deltas() for choice in self.choices)):
            for index, delta in enumerate(turn):
                if delta is not None:
                    yield index, *delta


def make_reply(
    question: Question, script: Script, lengths: tuple[int, int], salt: str = ""
) -> Reply:
    """The reply to `question`; `lengths` are the shortest and longest text in tokens."""
    asked = question.messages[:-1] if question.prefix else question.messages
    prompt = msgspec.json.encode(asked, order="sorted")
    root = f"{question.plain}\n{question.seed}\n{salt}\n".encode() + prompt
    choices = tuple(
        _choice(question, script, lengths, _dice(root, index)) for index in range(question.n)
    )
    return Reply(choices, input_tokens(question))


def input_tokens(question: Question) -> int:
    """Tokens of the prompt: its words, and 3 for each message."""
    return sum(3 + len(words_of(message.get("content"))) for message in question.messages)


def words_of(content: object) -> list[str]:
    """The words of a message's content; each is a token."""
    if isinstance(content, str):
        return content.split()
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return [word for text in texts for word in words_of(text)]


def _dice(root: bytes, index: int) -> Random:
    digest = blake2b(root, digest_size=8, salt=index.to_bytes(2, "big")).digest()
    return Random(int.from_bytes(digest, "big"))


def _choice(
    question: Question, script: Script, lengths: tuple[int, int], dice: Random
) -> ReplyChoice:
    most = min(question.max_tokens or MAX_OUTPUT, MAX_OUTPUT)
    thinking = next((fault for fault in script if isinstance(fault, Reasoning)), None)
    reasoning = _words(dice, min(thinking.n, most)) if thinking else ()
    field: Any = thinking.field if thinking else "reasoning_content"
    most -= len(reasoning)
    calls = _calls(question, script, dice)
    if calls:
        # A provider that runs out of tokens inside a tool call breaks off there.
        calls, cut = _shortened(calls, most)
        finish = "length" if cut else "tool_calls"
        return ReplyChoice(finish, reasoning=reasoning, reasoning_field=field, calls=calls)
    answer = next((fault for fault in script if isinstance(fault, Respond)), Respond())
    if question.json_schema is not None and answer.text is None:
        words = _in_words(json_text(question.json_schema, dice, WORDS))
    else:
        words = _answer(answer, lengths, dice, most + len(question.prefix.split()))
    if question.prefix:
        words = _after(question.prefix, words, script)
    finish = "length" if len(words) > most else answer.finish
    words, stopped = _stopped(words[:most], question.stop)
    return ReplyChoice(
        finish="stop" if stopped else finish,
        words=words,
        refused=any(isinstance(fault, Refuse) for fault in script),
        reasoning=reasoning,
        reasoning_field=field,
    )


def _answer(answer: Respond, lengths: tuple[int, int], dice: Random, most: int) -> tuple[str, ...]:
    if answer.text is not None:
        return _in_words(answer.text)
    count = dice.randint(*lengths) if answer.tokens is None else answer.tokens
    # One more than may be sent shows that the answer was cut.
    return _words(dice, min(count, most + 1))


def _after(prefix: str, words: tuple[str, ...], script: Script) -> tuple[str, ...]:
    """What is left of `words` after `prefix`, with what the script repeats of that."""
    text = "".join(words)
    rest = text[len(prefix) :] if text.startswith(prefix) else f" {text.lower()}"
    again = next((fault for fault in script if isinstance(fault, Restate)), None)
    if again is not None:
        said = _in_words(prefix)
        rest = "".join(said if again.n is None else said[-again.n :]) + rest
    return _in_words(rest)


def _in_words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\s*\S+|\s+", text))


def _words(dice: Random, count: int) -> tuple[str, ...]:
    words = dice.choices(WORDS, k=count)
    return tuple(f" {word}" if i else word.capitalize() for i, word in enumerate(words))


def _stopped(words: Sequence[str], stops: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    text = "".join(words) if stops else ""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    if not found:
        return tuple(words), False
    room, kept = min(found), []
    for word in words:
        if room <= 0:
            break
        kept.append(word[:room])
        room -= len(word)
    return tuple(kept), True


def _shortened(
    calls: tuple[ReplyToolCall, ...], most: int
) -> tuple[tuple[ReplyToolCall, ...], bool]:
    kept: list[ReplyToolCall] = []
    for call in calls:
        if most < 1:
            return tuple(kept), True
        fragments = call.fragments[: most - 1]
        kept.append(attrs.evolve(call, fragments=fragments))
        most -= 1 + len(call.fragments)
    return tuple(kept), most < 0


def _calls(question: Question, script: Script, dice: Random) -> tuple[ReplyToolCall, ...]:
    wanted = [fault for fault in script if isinstance(fault, CallTool)] or _forced(question)
    return tuple(_call(fault, question, dice) for fault in wanted)


def _forced(question: Question) -> list[CallTool]:
    choice = question.tool_choice
    if choice == "required" and question.tools:
        return [CallTool()]
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        return [CallTool(str(choice["function"].get("name", "function")))]
    return []


def _call(fault: CallTool, question: Question, dice: Random) -> ReplyToolCall:
    tools = [tool["function"] for tool in question.tools if isinstance(tool.get("function"), dict)]
    known = {str(tool.get("name")): tool for tool in tools}
    name = fault.function or next(iter(known), "function")
    arguments = fault.arguments
    if arguments is None:
        arguments = json_text(known.get(name, {}).get("parameters"), dice, WORDS)
    pieces = range(0, len(arguments), fault.fragment)
    fragments = tuple(arguments[at : at + fault.fragment] for at in pieces)
    return ReplyToolCall(f"call_{dice.getrandbits(64):016x}", name, fragments)
