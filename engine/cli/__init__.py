"""The command `streamnursery`. Start reading at `entry.py`; each verb has a file of its own.

Rule 1: modules import argparse and each other at the top, everything else inside the function
        that needs it, so that `--help` and `--version` load none of it.
Rule 2: data goes to stdout, everything else to stderr.
Rule 3: what the user can mend is a `CliError` in three lines; a traceback is a bug of ours.
"""

from engine.cli.entry import main

__all__ = ["main"]
