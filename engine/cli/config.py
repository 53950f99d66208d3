"""stub"""

from engine.cli.parser import Verbs


def add(verbs: Verbs) -> None:
    """Declare the verb."""
