"""`streamnursery ask`: one question, one model or several side by side."""

import argparse
from typing import TYPE_CHECKING

from engine.cli.parser import PROGRAM, Verbs, add_config, add_verb, number, seconds, whole

if TYPE_CHECKING:
    from engine.cli.answers import Answer

_EXAMPLE = """\
streamnursery ask "Why is the sky blue?" -m sim/fast
streamnursery ask "Why is the sky blue?" -m gpt-4.1-mini -m deepseek-chat -v
cat notes.txt | streamnursery ask "Sum this up:" -
streamnursery ask "Why is the sky blue?" --json | jq -r .text
"""


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "ask",
        run,
        example=_EXAMPLE,
        summary="stream an answer to stdout (the default verb)",
        then=f"{PROGRAM} models",
    )
    parser.add_argument(
        "words",
        metavar="PROMPT",
        nargs="*",
        help="the question; - stands for stdin, which is also read when there is no PROMPT",
    )
    add = parser.add_argument
    add("-m", "--model", action="append", metavar="MODEL", help="may be repeated")
    add("--system", metavar="TEXT", help="instructions that come before the prompt")
    add("--max-tokens", type=whole(1), metavar="N", help="longest answer, in tokens")
    add("--temperature", type=number("from 0 to 2", -1e-9, 2), metavar="X", help="0 to 2")
    add("--timeout", type=seconds, metavar="SECONDS", help="for the whole answer (exit code 5)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object when the answer is whole")
    form.add_argument("--jsonl", action="store_true", help="one event per line as it arrives")
    talk = parser.add_mutually_exclusive_group()
    talk.add_argument("-v", "--verbose", action="store_true", help="tokens and times, on stderr")
    talk.add_argument("-q", "--quiet", action="store_true", help="errors alone on stderr")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, and say how it went."""
    from engine.cli.explain import load
    from engine.cli.prompt import read_prompt
    from engine.cli.which_model import chosen_models

    prompt = read_prompt(args.words)
    loaded = load(args)
    models = chosen_models(args.model, loaded)

    from engine.cli.answers import Answer, Plain, Silent, ask_all
    from engine.cli.answers_json import Lines
    from engine.cli.console import Output
    from engine.cli.signals import run_trio

    answers = [Answer(model) for model in models]
    output = Output()
    show = Silent() if args.json else Lines(output) if args.jsonl else Plain(output, len(answers))
    fields = _fields(args, prompt)

    async def work() -> int:
        await ask_all(answers, fields, loaded.config, args.timeout, show)
        return 0

    code = run_trio(work)
    return _report(args, answers, loaded.config, code)


def _fields(args: argparse.Namespace, prompt: str) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}]
    if args.system:
        messages.insert(0, {"role": "system", "content": args.system})
    return {
        "messages": messages,
        "max_tokens": args.max_tokens,
        "temperature": args.temperature,
    }
