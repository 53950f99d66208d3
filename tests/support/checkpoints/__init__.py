"""Every public async call in the states that matter, ready to be made.

Each `case` is a context that prepares a state, gives the call and tidies up; each `block` gives
what makes the block. The tests in tests/simulation/test_checkpoints.py make them all.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import attrs

Call: TypeAlias = Callable[[], Awaitable[Any]]
Make: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
Raised: TypeAlias = type[BaseException] | None


@attrs.frozen
class CallCase:
    """A call in a state."""

    name: str
    """In the public surface; `NAME (enter)` is the entering of a block."""
    when: str
    ready: Callable[[], AbstractAsyncContextManager[Call]]
    raises: Raised = None
    """What the call raises there."""

    def __str__(self) -> str:
        return f"{self.name}: {self.when}"


@attrs.frozen
class BlockCase:
    """A block that can be entered and left."""

    name: str
    ready: Callable[[], AbstractAsyncContextManager[Make]]

    def __str__(self) -> str:
        return self.name


@attrs.define
class Table:
    """The cases of one kind of test."""

    calls: list[CallCase] = attrs.field(factory=list)
    blocks: list[BlockCase] = attrs.field(factory=list)

    def case(
        self, name: str, when: str, raises: Raised = None
    ) -> Callable[[Callable[[], AbstractAsyncContextManager[Call]]], None]:
        """Above what prepares the call."""

        def add(ready: Callable[[], AbstractAsyncContextManager[Call]]) -> None:
            self.calls.append(CallCase(name, when, ready, raises))

        return add

    def block(self, name: str) -> Callable[[Callable[[], AbstractAsyncContextManager[Make]]], None]:
        """Above what gives the making of the block; entering it is a case of its own."""

        def add(opened: Callable[[], AbstractAsyncContextManager[Make]]) -> None:
            self.blocks.append(BlockCase(name, opened))

            @asynccontextmanager
            async def entering() -> AsyncIterator[Call]:
                async with opened() as make:
                    entered: list[AbstractAsyncContextManager[Any]] = []

                    async def enter() -> None:
                        block = make()
                        await block.__aenter__()
                        entered.append(block)

                    yield enter
                    for block in entered:
                        await block.__aexit__(None, None, None)

            self.case(f"{name} (enter)", "it is entered")(entering)

        return add

    @property
    def names(self) -> set[str]:
        """Of the public surface, those that are here."""
        return {case.name for case in self.calls} | {block.name for block in self.blocks}
