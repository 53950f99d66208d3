"""A key file that is rewritten while the engine runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from streamnursery import AuthError, EngineError, Secret
from streamnursery.simulator import Plan, Provider, Status
from streamnursery.testing import World

ROUTES = [{"endpoint": "main", "model": "fast"}, {"endpoint": "backup", "model": "fast"}]


def rewrite(file: Path, key: str) -> None:
    file.write_text(key)


def config(file: Path, **more: Any) -> dict[str, Any]:
    where = {"file": str(file)}
    credential = more.pop("credential", {"key": where})
    return {
        "endpoints": {
            "main": {"url": "http://main.test/v1", **credential},
            "backup": {"url": "http://backup.test/v1"},
        },
        "models": {"m": {"routes": [{"endpoint": "main", "model": "fast"}], **more}},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("old-key")
    path.chmod(0o600)
    return path


def ask(
    settings: dict[str, Any], file: Path, keys: Sequence[str], plan: Plan | None = None
) -> tuple[Provider, Provider, list[EngineError | None]]:
    """One request for each of `keys`, which is written into the file before it."""

    async def run(world: World) -> tuple[Provider, Provider, list[EngineError | None]]:
        first = world.add_provider("main", key=Secret("new-key"), plan=plan)
        second = world.add_provider("backup")
        outcomes: list[EngineError | None] = []
        async with world.open_engine(settings) as eng:
            for key in keys:
                rewrite(file, key)
                try:
                    await eng.complete("m", "Hi")
                except EngineError as error:
                    outcomes.append(error)
                else:
                    outcomes.append(None)
        return first, second, outcomes

    return World(1).run(run)


def seen(provider: Provider) -> list[str]:
    """What the provider made of the keys that it got."""
    return [entry.credential for entry in provider.log]


def test_a_key_that_changed_is_read_again_after_a_401(file: Path) -> None:
    first, _, outcomes = ask(config(file), file, ["new-key", "new-key"])
    assert outcomes == [None, None]
    assert seen(first) == ["wrong", "right", "right"]


def test_a_key_that_did_not_change_is_not_asked_for_again(file: Path) -> None:
    first, _, outcomes = ask(config(file), file, ["old-key"])
    assert isinstance(outcomes[0], AuthError)
    assert seen(first) == ["wrong"]


def test_a_new_key_that_is_refused_too_is_the_end_of_it(file: Path) -> None:
    first, _, outcomes = ask(config(file), file, ["other-key"])
    assert isinstance(outcomes[0], AuthError)
    assert seen(first) == ["wrong", "wrong"]


def test_the_file_is_not_read_while_the_key_is_accepted(file: Path) -> None:
    first, _, outcomes = ask(config(file), file, ["new-key", "other-key"])
    assert outcomes == [None, None]
    assert seen(first) == ["wrong", "right", "right"]


def test_a_403_does_not_make_it_look(file: Path) -> None:
    rewrite(file, "new-key")
    first, _, outcomes = ask(config(file), file, ["other-key"], Plan.always(Status(403)))
    assert isinstance(outcomes[0], AuthError)
    assert seen(first) == ["right"]


def test_it_counts_as_an_attempt_and_serves_the_requests_that_follow(file: Path) -> None:
    settings = config(file, retries={"attempts": 1})
    first, _, outcomes = ask(settings, file, ["new-key", "new-key"])
    assert [type(outcome) for outcome in outcomes] == [AuthError, type(None)]
    assert seen(first) == ["wrong", "right"]


def test_a_file_that_was_broken_meanwhile_leaves_the_old_key(file: Path) -> None:
    first, _, outcomes = ask(config(file), file, ['"new-key"', "new-key"])
    assert [type(outcome) for outcome in outcomes] == [AuthError, type(None)]
    assert seen(first) == ["wrong", "wrong", "right"]


def test_a_header_from_a_file_is_renewed_too(file: Path) -> None:
    settings = config(file, credential={"headers": {"X-API-Key": {"file": str(file)}}})
    first, _, outcomes = ask(settings, file, ["new-key"])
    assert outcomes == [None]
    assert seen(first) == ["wrong", "right"]


def test_a_backup_is_asked_where_the_new_key_is_refused(file: Path) -> None:
    first, second, outcomes = ask(config(file, routes=ROUTES), file, ["other-key"])
    assert outcomes == [None]
    assert seen(first) == ["wrong", "wrong"]
    assert len(second.log) == 1
