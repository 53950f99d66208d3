"""`streamnursery ask`: one question, one model or several side by side."""

import argparse
import sys
from typing import TYPE_CHECKING

from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb, number, seconds, whole

if TYPE_CHECKING:
    from streamnursery.cli.ask_screen import Answer
    from streamnursery.values.settings import EngineConfig

_EXAMPLE = """\
streamnursery ask "Why is the sky blue?" -m sim/fast
streamnursery ask "Why is the sky blue?" -m gpt-4.1-mini -m deepseek-chat -v
cat notes.txt | streamnursery ask "Sum this up:" -
streamnursery ask "Why is the sky blue?" --json | jq -r .text
streamnursery ask "Why is the sky blue?" -m sim/fast --ws
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
    add("-m", "--model", action="append", metavar="MODEL", help="model to ask; may be repeated")
    add("--system", metavar="TEXT", help="system message before the prompt")
    add("--max-tokens", type=whole(1), metavar="N", help="limit of the answer, in tokens")
    add(
        "--temperature",
        type=number("from 0 to 2", 0, 2, zero=True),
        metavar="X",
        help="sampling temperature, 0 to 2",
    )
    add("--no-input", action="store_true", help="never read stdin")
    add("--ws", action="store_true", help="use a WebSocket and the Responses API")
    add(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="limit for the whole answer (exit code 5)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print one object when the answer is complete"
    )
    form.add_argument("--jsonl", action="store_true", help="print one event per line as it arrives")
    talk = parser.add_mutually_exclusive_group()
    talk.add_argument(
        "-v", "--verbose", action="store_true", help="print tokens and times on stderr"
    )
    talk.add_argument("-q", "--quiet", action="store_true", help="print only errors on stderr")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, and say how it went."""
    from streamnursery.cli.explain import load
    from streamnursery.cli.prompt import read_prompt
    from streamnursery.cli.which_model import chosen_models

    prompt = read_prompt(args.words, stdin=not args.no_input)
    loaded = load(args)
    models = chosen_models(args.model, loaded)

    from streamnursery.cli.ask_json import Lines
    from streamnursery.cli.ask_screen import Answer, Plain, Show, Silent, ask_all, tell_retry
    from streamnursery.cli.console import Output, is_terminal
    from streamnursery.cli.signals import run_trio

    answers = [Answer(model) for model in models]
    output = Output()
    show: Show = Lines(output) if args.jsonl else Plain(output, answers)
    if args.json:
        show = Silent()
    fields = _fields(args, prompt)

    told = is_terminal(sys.stderr) and not args.quiet
    observers = [tell_retry] if told else []

    async def work() -> int:
        await ask_all(
            answers,
            fields,
            loaded.config,
            args.timeout,
            show,
            sessions=args.ws,
            observers=observers,
        )
        return 0

    interrupted = run_trio(work)
    if args.json:
        _print_objects(answers)
    else:
        output.end_line_now()
    if not args.quiet:
        _tell(args, answers)
    return interrupted or _failures(answers, loaded.config)


def _fields(args: argparse.Namespace, prompt: str) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}]
    if args.system:
        messages.insert(0, {"role": "system", "content": args.system})
    return {
        "messages": messages,
        "max_tokens": args.max_tokens,
        "temperature": args.temperature,
    }


def _print_objects(answers: "list[Answer]") -> None:
    from streamnursery.cli.ask_json import answer_object, dumped
    from streamnursery.cli.console import data

    objects = [answer_object(answer) for answer in answers]
    data(dumped(objects[0] if len(objects) == 1 else {"answers": objects}))


def _tell(args: argparse.Namespace, answers: "list[Answer]") -> None:
    """What a person may want to know beside the text."""
    from streamnursery.cli.console import is_terminal, note

    for answer in answers:
        if args.verbose:
            note(_figures(answer))
        if answer.completion is None:
            if answer.error is None:
                note(f"interrupted: {answer.model} had not finished")
        elif answer.completion.finish_reason in ("length", "max_output_tokens"):
            note(f"{answer.model} stopped at its limit of tokens; see --max-tokens")
    whole = all(answer.completion is not None for answer in answers)
    simulated = all(answer.model.startswith("sim/") for answer in answers)
    if whole and simulated and is_terminal(sys.stderr):
        note(f'next: export OPENAI_API_KEY=..., then {PROGRAM} ask "..." -m gpt-4.1-mini')


def _figures(answer: "Answer") -> str:
    stream = answer.stream
    if stream is None:
        return f"{answer.model}: nothing was sent"
    usage, timings = stream.usage, stream.timings
    parts = [f"{answer.model}: {stream.route or 'not sent'}"]
    if usage is not None:
        parts.append(f"{_known(usage.input_tokens)} + {_known(usage.output_tokens)} tokens")
    if timings.time_to_first_token is not None:
        parts.append(f"first token after {timings.time_to_first_token:.2f} s")
    if timings.duration is not None:
        parts.append(f"all after {timings.duration:.2f} s")
    per_token = timings.time_per_output_token(usage.output_tokens if usage else None)
    if per_token:
        parts.append(f"{1 / per_token:.0f} tokens/s")
    if len(stream.attempts) > 1:
        parts.append(f"{len(stream.attempts)} attempts")
    if stream.request_id is not None:
        parts.append(f"request {stream.request_id}")
    return ", ".join(parts)


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _failures(answers: "list[Answer]", config: "EngineConfig") -> int:
    """Print every error; the exit code that they come to."""
    from streamnursery.cli.console import complain
    from streamnursery.cli.exits import Exit, joint_code
    from streamnursery.cli.explain import explained

    codes = []
    for answer in answers:
        if answer.error is None:
            codes.append(Exit.OK)
            continue
        error = explained(answer.error, config)
        complain(error, answer.model if len(answers) > 1 else "")
        codes.append(Exit(error.code))
    return joint_code(codes)
