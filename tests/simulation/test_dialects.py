"""Dialects from outside: spoken in the world, declared by options, and kept from doing harm."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from streamnursery import (
    CallbackError,
    ChatRequest,
    ConfigError,
    ConnectionLostError,
    TruncatedStreamError,
    open_engine,
)
from streamnursery.config import config_from_mapping
from streamnursery.records import SessionState
from streamnursery.simulator import Cut, NoEndMark, Plan, Status
from streamnursery.testing import World
from streamnursery.values.secret import Secret
from streamnursery.wire.dialect import EndpointOption
from streamnursery.wire.openai_responses.session import OpenAIResponsesSession
from streamnursery.wire.registry import Dialects
from tests.support import toy_dialect
from tests.support.toy_dialect import Toy, ToyDecoder


def toy_config(world: World, **endpoint: Any) -> dict[str, Any]:
    name, provider = next(iter(world.providers.items()))
    del provider
    endpoint = {"url": f"http://{name}.test/v1", "dialect": "toy", **endpoint}
    return {"endpoints": {"e": endpoint}, "models": {"fast": {"routes": [{"endpoint": "e"}]}}}


async def ask(world: World, dialect: Any, plan: Plan | None = None, **endpoint: Any) -> str:
    provider = next(iter(world.providers.values()))
    if plan is not None:
        provider.plan = plan
    config = toy_config(world, **endpoint)
    config["defaults"] = {"retries": {"attempts": 1}}
    async with world.open_engine(config, dialects=[dialect]) as eng:
        return (await eng.complete("fast", "Why?", timeout=60)).text


def run(dialect: Any, plan: Plan | None = None, **endpoint: Any) -> str:
    return World(3).run(ask, dialect, plan, **endpoint)


def test_a_dialect_of_one_file_is_spoken_in_the_world() -> None:
    async def main(world: World) -> None:
        text = await ask(world, Toy(), team="red", key=Secret("toy-key"))
        provider = next(iter(world.providers.values()))
        assert text == provider.log[-1].intended()
        assert provider.log[-1].headers["x-request-id"] == "red"

    World(3).run(main)


def test_a_cut_answer_of_it_is_never_complete() -> None:
    with pytest.raises(TruncatedStreamError, match=r"without \[DONE\]"):
        run(Toy(), Plan.always(NoEndMark()))
    with pytest.raises(ConnectionLostError):
        run(Toy(), Plan.always(Cut(3)))


def test_its_own_errors_are_its_streams() -> None:
    with pytest.raises(Exception, match="the toy's server said 503"):
        run(Toy(), Plan.always(Status(503)))


class Raises(Toy):
    """Each of its methods may be the broken one."""

    def __init__(self, method: str) -> None:
        def broken(*_: object, **__: object) -> object:
            raise ZeroDivisionError("a bug of the plugin's")

        setattr(self, method, broken)


@pytest.mark.parametrize("method", ["path", "encode", "check_head", "decoder"])
def test_an_exception_out_of_it_fails_its_stream_and_names_it(method: str) -> None:
    with pytest.raises(CallbackError, match=r"the dialect 'toy' .* raised ZeroDivisionError") as e:
        run(Raises(method))
    assert isinstance(e.value.__cause__, ZeroDivisionError)


def test_one_in_the_error_of_an_answer_too() -> None:
    with pytest.raises(CallbackError, match="ZeroDivisionError"):
        run(Raises("error_from_answer"), Plan.always(Status(503)))


def asked(model: str) -> ChatRequest:
    return ChatRequest(model, [{"role": "user", "content": "Why?"}])


class BadDecoder(ToyDecoder):
    def feed(self, data: bytes) -> list[Any]:
        super().feed(data)
        return ["text"]


class RaisingDecoder(ToyDecoder):
    def feed(self, data: bytes) -> list[Any]:
        raise KeyError(data[:1])


@pytest.mark.parametrize(
    ("decoder", "told"),
    [(BadDecoder, "gave str, not an event"), (RaisingDecoder, "raised KeyError")],
)
def test_a_decoder_that_misbehaves_fails_its_stream(
    decoder: type[ToyDecoder], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_dialect, "ToyDecoder", decoder)
    with pytest.raises(CallbackError, match=told):
        run(Toy())


def test_the_engine_goes_on_after_a_plugins_bug() -> None:
    async def main(world: World) -> None:
        config = toy_config(world)
        config["endpoints"]["plain"] = {"url": config["endpoints"]["e"]["url"]}
        config["models"]["gpt-4.1"] = {"routes": [{"endpoint": "plain"}]}
        async with world.open_engine(config, dialects=[Raises("decoder")]) as eng:
            outcomes = await eng.settle([asked("fast"), asked("gpt-4.1")])
            assert [type(o.error) for o in outcomes] == [CallbackError, type(None)]

    World(3).run(main)


class BrokenSession(OpenAIResponsesSession):
    def envelope(self, data: bytes, /) -> Any:
        raise ZeroDivisionError(data[:1])


class WithSession(Toy):
    session: Any = BrokenSession()


def test_an_exception_out_of_its_sessions_ends_the_session_and_names_it() -> None:
    async def main(world: World) -> None:
        config = toy_config(world)
        async with world.open_engine(config, dialects=[WithSession()]) as eng:
            async with eng.session("e") as session:
                with pytest.raises(CallbackError, match="the sessions of the dialect 'toy'"):
                    async with session.stream("fast", "Why?") as stream:
                        await stream.completion()
            assert session.state is SessionState.LOST
            assert isinstance(session.error, CallbackError)

    World(3).run(main)


def test_an_endpoint_without_sessions_says_so() -> None:
    async def main(world: World) -> None:
        async with world.open_engine(toy_config(world), dialects=[Toy()]) as eng:
            with pytest.raises(ConfigError, match="speaks toy, which has no sessions"):
                async with eng.session("e"):
                    pass

    World(3).run(main)


# The registry. --------------------------------------------------------------------------------


class OldApi(Toy):
    api = 0


class NoMethods:
    api = 1
    name = "nothing"
    options = ()


class Taken(Toy):
    name = "openai-chat"


class OtherType(Toy):
    name = "other"
    options: tuple[EndpointOption, ...] = (EndpointOption("include_usage", "yes", "As text."),)


@pytest.mark.parametrize(
    ("dialect", "told"),
    [
        (OldApi(), "made for version 0 of the dialect interface, and this is 1"),
        (NoMethods(), "it has no path, headers, encode"),
        (Taken(), "there is a dialect called 'openai-chat' already"),
        (OtherType(), "its option 'include_usage' has another type than that of 'openai-chat'"),
    ],
)
def test_a_dialect_that_cannot_be_used_is_a_config_error(dialect: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Dialects([dialect])


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ({"team": "RED"}, "endpoints.e.team: must be lower case letters"),
        ({"shout": "yes"}, "endpoints.e.shout: must be true or false, not text"),
        (
            {"include_usage": True},
            "is an option of openai-chat and azure-openai",
        ),
        (
            {"dialect": "toi"},
            'must be "openai-chat", .*, "ollama" or "toy"; did you mean',
        ),
    ],
)
def test_options_are_checked_with_the_dialect(endpoint: dict[str, Any], told: str) -> None:
    mapping = {"endpoints": {"e": {"url": "http://x.test/v1", "dialect": "toy", **endpoint}}}
    with pytest.raises(ConfigError, match=told):
        config_from_mapping(mapping, environ={}, dialects=Dialects([Toy()]))


# Entry points. --------------------------------------------------------------------------------

PACKAGES = {
    "good": "tests.support.toy_dialect:Toy",
    "broken": "no_such_module_anywhere:Toy",
    "renamed": "tests.support.toy_dialect:Toy",
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three installed packages with dialects, and two that take one name."""
    entries = {"good": "toy", "broken": "broken", "renamed": "renamed"}
    for package, name in entries.items():
        _install(tmp_path, package, name, PACKAGES[package])
    for package in ("first", "second"):
        _install(tmp_path, package, "both", PACKAGES["good"])
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.path_importer_cache.clear()


def _install(folder: Path, package: str, name: str, value: str) -> None:
    info = folder / f"{package}_dialect-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-dialect\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[streamnursery.dialects]\n{name} = {value}\n")


def config_of(dialect: str) -> dict[str, Any]:
    return {"endpoints": {"e": {"url": "http://x.test/v1", "dialect": dialect, "team": "red"}}}


def test_an_installed_dialect_is_found_by_its_name(packages: Path) -> None:
    endpoint = config_from_mapping(config_of("toy"), environ={}).endpoints["e"]
    assert (endpoint.dialect, endpoint.options) == ("toy", {"team": "red"})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", r"cannot be loaded: no_such_module.* of the package broken-dialect: ModuleNot"),
        ("both", "is registered by first-dialect and second-dialect; uninstall all but one"),
        ("renamed", "is registered as 'renamed' and calls itself 'toy'"),
    ],
)
def test_an_installed_dialect_that_cannot_be_used_names_its_package(
    packages: Path, name: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        config_from_mapping(config_of(name), environ={})


def test_no_package_is_imported_where_built_in_dialects_do(packages: Path) -> None:
    config = {"endpoints": {"e": {"url": "http://x.test/v1", "dialect": "openai-chat"}}}
    assert config_from_mapping(config, environ={}).endpoints["e"].dialect == "openai-chat"


async def test_a_value_with_an_unknown_dialect_is_refused_when_the_engine_opens() -> None:
    mapping = {"endpoints": {"e": {"url": "http://x.test/v1", "dialect": "toy"}}}
    with pytest.raises(ConfigError, match="dialect"):
        async with open_engine(mapping):
            await trio.lowlevel.checkpoint()
