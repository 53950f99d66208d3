"""One error leaves as itself: a nursery of ours wraps nothing that is the caller's."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


@contextmanager
def bare_errors() -> Iterator[None]:
    """Around exactly one nursery: if it ends with one error, raise that error and no group.

    Cancellations that come along with it are dropped, since the scope that asked for them asks
    again; several of nothing else become one. Two or more independent errors stay a group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        errors = [e for e in group.exceptions if not isinstance(e, trio.Cancelled)]
        if len(errors) > 1:
            raise
        _raise_as_it_was(errors[0] if errors else group.exceptions[0])


def _raise_as_it_was(error: BaseException) -> None:
    cause, context = error.__cause__, error.__context__
    try:
        raise error
    finally:
        # `raise` has put the group into the context, where it explains nothing.
        error.__cause__, error.__context__ = cause, context
        del error, cause, context
