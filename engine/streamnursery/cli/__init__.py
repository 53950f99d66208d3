"""The command `streamnursery`. Start reading at `entry.py`; each verb has its own file.

Rule 1: modules import argparse and each other at the top, everything else inside the function
        that needs it, so that `--help` and `--version` load none of it.
Rule 2: data goes to stdout, everything else to stderr.
Rule 3: what the user can fix is a `CliError` in three lines; a traceback is a bug of ours.
"""

from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. `words` are those after the program's name."""
    try:
        # Here, and not above: Ctrl-C may come while it is imported.
        from streamnursery.cli.entry import run

        return run(words)
    except KeyboardInterrupt:
        return 130
