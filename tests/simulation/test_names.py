"""Look-ups of names: shared while under way, kept for a while, in threads of their own."""

import socket
import threading
from collections.abc import Callable

import pytest
import trio

from streamnursery.transport.names import KEPT, THREADS, Addresses, Found, Names
from streamnursery.transport.network import TrioNetwork
from tests.support.scene import virtual


class Resolver:
    """Answers each look-up after `seconds`, with what `answers` says of the name."""

    def __init__(self, nursery: trio.Nursery, seconds: float = 1.0) -> None:
        self.asked: list[str] = []
        self.at_once = self.peak = 0
        self.answers: dict[str, Found] = {}
        self._nursery = nursery
        self._seconds = seconds

    def look_up(self, host: str, over: Callable[[Found], None]) -> None:
        self.asked.append(host)
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        self._nursery.start_soon(self._answer, host, over)

    async def _answer(self, host: str, over: Callable[[Found], None]) -> None:
        await trio.sleep(self._seconds)
        self.at_once -= 1
        over(self.answers.get(host, ("192.0.2.1",)))


@virtual
async def test_two_hundred_who_want_one_name_cause_one_look_up() -> None:
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery)
        names = Names(resolver.look_up)
        got: list[Addresses] = []

        async def one() -> None:
            got.append(await names.addresses("a.test"))

        async with trio.open_nursery() as askers:
            for _ in range(200):
                askers.start_soon(one)
        assert got == [("192.0.2.1",)] * 200
        assert resolver.asked == ["a.test"]
        assert trio.current_time() == 1


@virtual
async def test_what_was_found_is_kept_for_a_while_and_what_was_not_is_asked_again() -> None:
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery, 0.0)
        names = Names(resolver.look_up)
        for _ in range(3):
            await names.addresses("a.test")
        await trio.sleep(KEPT)
        await names.addresses("a.test")
        assert resolver.asked == ["a.test"] * 2
        resolver.answers["b.test"] = socket.gaierror(socket.EAI_NONAME, "unknown")
        for _ in range(2):
            with pytest.raises(socket.gaierror, match="unknown"):
                await names.addresses("b.test")
        assert resolver.asked[2:] == ["b.test"] * 2


@virtual
async def test_who_is_cancelled_leaves_the_look_up_to_the_others() -> None:
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery)
        names = Names(resolver.look_up)
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await names.addresses("a.test")

        nursery.start_soon(first)
        await trio.sleep(0.5)
        nursery.start_soon(names.addresses, "a.test")
        await trio.sleep(0.1)
        scope.cancel()
        assert await names.addresses("a.test") == ("192.0.2.1",)
        assert resolver.asked == ["a.test"]
        assert trio.current_time() == 1


@virtual
async def test_the_threads_are_bounded_and_each_name_gets_its_turn() -> None:
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery)
        names = Names(resolver.look_up)
        async with trio.open_nursery() as askers:
            for number in range(3 * THREADS):
                askers.start_soon(names.addresses, f"{number}.test")
        assert (len(resolver.asked), resolver.peak) == (3 * THREADS, THREADS)
        assert trio.current_time() == 3


@virtual
async def test_numbers_are_not_looked_up() -> None:
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery)
        names = Names(resolver.look_up)
        assert await names.addresses("127.0.0.1") == ("127.0.0.1",)
        assert await names.addresses("::1") == ("::1",)
        assert resolver.asked == []


async def test_a_look_up_takes_no_thread_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, threading.Event()
    release = threading.Event()

    def slow(host: str, *args: object, **options: object) -> object:
        if host != "slow.test" or options.get("flags"):
            return real(host, *args, **options)  # type: ignore[arg-type]
        asked.set()
        release.wait()
        return real("127.0.0.1", *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    network = TrioNetwork()
    limiter = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(network.resolve, "slow.test", 80)
        assert await trio.to_thread.run_sync(asked.wait, 60)
        assert limiter.borrowed_tokens == 0
        release.set()
    assert await network.resolve("slow.test", 443) == [("127.0.0.1", 443)]
