"""Where a prompt comes from: the words of the command line, or stdin when it is asked for."""

import sys

from streamnursery.cli.exits import CliError
from streamnursery.cli.parser import PROGRAM

MAX_STDIN = 16 * 1024 * 1024
"""Bytes."""
_USAGE = f'{PROGRAM} ask "Why is the sky blue?", or {PROGRAM} ask < FILE'


def read_prompt(words: list[str], *, stdin: bool = True) -> str:
    """The prompt: one word of the command line, `-` for stdin, or both; stdin without either.

    stdin is read only then, because in scripts it is often a pipe without a writer; and
    never without `stdin`.

    Raises:
        CliError: there is no prompt.
    """
    said = [word for word in words if word != "-"]
    if len(said) > 1:
        why = f"PROMPT is one text, and there are {len(said)}"
        raise CliError("too many words", why, f'put it into quotes: {PROGRAM} ask "..."')
    if said and "-" not in words:
        text = said[0]
    elif not stdin:
        raise CliError("no prompt was given", "--no-input keeps stdin unread", _USAGE)
    else:
        text = "\n\n".join([*said, _stdin(asked="-" in words)])
    if not text.strip():
        raise CliError("the prompt is empty", "", _USAGE)
    return text


def _stdin(*, asked: bool) -> str:
    stream = sys.stdin
    if stream is None or stream.closed:
        raise CliError("no prompt was given", "and stdin is closed", _USAGE)
    if stream.isatty() and not asked:
        raise CliError("no prompt was given", "stdin is a terminal and no pipe", _USAGE)
    try:
        data = stream.buffer.read(MAX_STDIN + 1)
    except OSError as error:
        raise CliError("stdin cannot be read", error.strerror or "", _USAGE) from None
    if len(data) > MAX_STDIN:
        raise CliError("stdin is too long", f"a prompt has at most {MAX_STDIN} bytes", _USAGE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CliError("stdin is not UTF-8", "it may be a binary file", _USAGE) from None
    if not text.strip():
        raise CliError("no prompt was given", "and stdin is empty", _USAGE)
    return text
