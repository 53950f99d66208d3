"""What a refused handshake of a session means: a key that was renewed, a path that is wrong."""

from pathlib import Path
from typing import Any

import pytest
import trio

from streamnursery import AuthError, Secret
from streamnursery.errors import UnexpectedContentError
from streamnursery.simulator import Plan, Provider, Rule, Socket, Status, When
from streamnursery.testing import World
from streamnursery.values.session import SessionState


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("old-key")
    path.chmod(0o600)
    return path


def rewrite(file: Path, key: str) -> None:
    file.write_text(key)


def config(file: Path) -> dict[str, Any]:
    url = "http://main.test/v1"
    endpoint = {"url": url, "dialect": "openai-responses", "key": {"file": str(file)}}
    return {"endpoints": {"main": endpoint}}


def seen(provider: Provider) -> list[str]:
    return [entry.credential for entry in provider.log]


def test_a_key_that_changed_is_read_again_when_the_handshake_is_refused(file: Path) -> None:
    async def main(world: World) -> None:
        provider = world.add_provider("main", key=Secret("new-key"))
        async with world.open_engine(config(file)) as eng:
            rewrite(file, "new-key")
            async with eng.session("main") as session:
                await session.wait_open()
        assert seen(provider) == ["wrong", "right"]

    World(1).run(main)


def test_a_key_that_did_not_change_is_not_asked_for_again(file: Path) -> None:
    async def main(world: World) -> None:
        provider = world.add_provider("main", key=Secret("new-key"))
        async with world.open_engine(config(file)) as eng, eng.session("main") as session:
            with pytest.raises(AuthError):
                await session.wait_open()
        assert seen(provider) == ["wrong"]

    World(2).run(main)


def test_a_new_key_that_is_refused_too_is_the_end_of_it(file: Path) -> None:
    async def main(world: World) -> None:
        provider = world.add_provider("main", key=Secret("new-key"))
        async with world.open_engine(config(file)) as eng:
            rewrite(file, "other-key")
            async with eng.session("main") as session:
                with pytest.raises(AuthError):
                    await session.wait_open()
                assert session.state is SessionState.LOST
        assert seen(provider) == ["wrong", "wrong"]

    World(3).run(main)


def test_a_connection_that_breaks_comes_back_with_the_new_key(file: Path) -> None:
    plan = Plan((Rule((Socket("drop", after=3.0),), When(requests=(1,))),))

    async def main(world: World) -> None:
        provider = world.add_provider("main", key=Secret("new-key"), plan=plan)
        rewrite(file, "new-key")
        async with world.open_engine(config(file)) as eng, eng.session("main") as session:
            await session.wait_open()
            rewrite(file, "newer-key")
            provider._key = Secret("newer-key")
            await trio.sleep(20)
            await session.send({"type": "echo", "id": 1})
            assert (await session.__anext__())["id"] == 1
        assert seen(provider) == ["right", "wrong", "right"]

    World(4).run(main)


@pytest.mark.parametrize("status", [404, 405])
def test_a_path_without_a_websocket_is_named_as_that(status: int) -> None:
    async def main(world: World) -> None:
        async with world.open_engine() as eng, eng.session("sim") as session:
            with pytest.raises(UnexpectedContentError, match="no WebSocket at the path") as caught:
                await session.wait_open()
            assert caught.value.status == status

    World(5, plan=Plan.always(Status(status))).run(main)
