"""When a program is run for an access token, and for whom."""

import threading

import pytest
import trio
from trio.testing import MockClock

from streamnursery.supervisor.token_command import EARLY, LASTS, TokenCommandError, TokenSource
from streamnursery.values.errors import AuthError
from streamnursery.values.secret import Secret


async def test_one_run_serves_all_who_wait_and_goes_on_when_they_leave() -> None:
    runs: list[int] = []
    goes_on = threading.Event()

    def run(command: tuple[str, ...]) -> str:
        runs.append(len(command))
        goes_on.wait()
        return f"token-{len(runs)}"

    source = TokenSource(("x",), "e", run)
    found: list[Secret] = []

    async def wait() -> None:
        found.append(await source.current())

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as leaving:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            leaving.cancel()
            await source.current()
        assert leaving.cancelled_caught
        goes_on.set()
    assert (len(runs), found) == (1, [Secret("token-1")] * 2)
    assert await source.current() == Secret("token-1")
    source.refuse(Secret("another"))
    assert await source.current() == Secret("token-1")
    source.refuse(Secret("token-1"))
    assert await source.current() == Secret("token-2")


@pytest.mark.parametrize(
    ("printed", "lasts"),
    [("plain", LASTS), ('{"access_token": "plain", "expires_in": 3600}', 3600 - EARLY)],
)
async def test_a_token_is_asked_for_again_before_it_ends(
    printed: str, lasts: float, autojump_clock: MockClock
) -> None:
    runs: list[float] = []

    def run(_: tuple[str, ...]) -> str:
        runs.append(1)
        return printed

    source = TokenSource(("x",), "e", run)
    del autojump_clock
    for wait, asked in ((0, 1), (lasts - 1, 1), (2, 2)):
        await trio.sleep(wait)
        assert await source.current() == Secret("plain")
        assert len(runs) == asked


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("", "it printed none"),
        ("{secret", "no JSON object"),
        ('{"secret": 1}', "it printed none"),
        ("two secret words", "blanks or line breaks"),
        (ZeroDivisionError("secret"), "could not be run: ZeroDivisionError"),
        (TokenCommandError("told"), "gave no token: told"),
    ],
)
async def test_what_is_no_token_is_a_typed_error_and_never_quoted(
    printed: str | Exception, told: str
) -> None:
    def run(_: tuple[str, ...]) -> str:
        if isinstance(printed, Exception):
            raise printed
        return printed

    source = TokenSource(("x",), "here", run)
    for _ in range(2):
        with pytest.raises(AuthError, match=told) as caught:
            await source.current()
        assert "endpoint 'here'" in str(caught.value)
        assert "secret" not in str(caught.value)
