"""Access tokens that a program prints, with real programs and a real server."""

import sys
from pathlib import Path
from random import Random

import pytest
import trio

import streamnursery as sn
from streamnursery.simulator import Plan, Provider, Rule, Status, When, serve_loopback
from streamnursery.supervisor.command_run import MAX_PRINTED, run_command
from streamnursery.supervisor.token_command import TokenCommandError
from streamnursery.values.errors import AuthError
from streamnursery.values.secret import Secret
from tests.support.guard import GUARD
from tests.support.simulator import MODELS


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", code)


COUNTING = """
import pathlib, sys
file = pathlib.Path({file!r})
count = len(file.read_text()) + 1 if file.exists() else 1
file.write_text("x" * count)
print("token-%d" % min(count, {most}))
"""


def test_what_a_program_prints_is_taken_without_a_shell() -> None:
    assert run_command(program("print('secret-1')")) == "secret-1\n"
    assert (
        run_command((*program("import sys; print(sys.argv[1])"), "$HOME; `id`")) == "$HOME; `id`\n"
    )
    assert run_command(program("import sys; print(repr(sys.stdin.read()))")) == "''\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (f"print('secret' * {MAX_PRINTED})", "printed more than 16,384 bytes"),
        ("import sys; print('secret'); sys.exit('secret')", "ended with status 1"),
        ("import time; print('secret', flush=True); time.sleep(60)", "did not end within 0.5 s"),
    ],
)
def test_a_program_that_misbehaves_is_ended_and_never_quoted(code: str, told: str) -> None:
    with pytest.raises(TokenCommandError, match=told) as caught:
        run_command(program(code), seconds=0.5 if "sleep" in code else 30)
    assert "secret" not in str(caught.value)


def test_what_it_has_started_is_ended_with_it() -> None:
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{}'])"
    code = child.format("import time; time.sleep(60)")
    with pytest.raises(TokenCommandError, match="did not end within 1 s"):
        run_command(program(code), seconds=1)  # its child holds the pipe


def test_a_program_that_is_not_there_is_named_by_the_systems_word() -> None:
    with pytest.raises(TokenCommandError, match="cannot be started: No such file"):
        run_command(("/no/such/program",))


async def test_an_endpoint_sends_the_token_and_another_one_after_a_401(tmp_path: Path) -> None:
    file = tmp_path / "count"
    plan = Plan((Rule((Status(401),), When(requests=(2,))),))
    provider = Provider(dice=Random(1), models=MODELS, plan=plan, key=Secret("token-1"))
    command = list(program(COUNTING.format(file=str(file), most=1)))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        endpoint = {
            "url": f"{server.url.removesuffix('/v1')}/v1beta",
            "dialect": "gemini",
            "token_command": command,
        }
        config = {"endpoints": {"vertex": endpoint}}
        async with sn.open_engine(config) as eng:
            for _ in range(2):
                await eng.complete("fast", "Hi", timeout=GUARD)
        assert [record.status for record in provider.log] == [200, 401, 200]
        assert {record.credential for record in provider.log} == {"right"}
        assert len(file.read_text()) == 2  # once at first, once after the refusal
        await server.stop(grace=GUARD)


async def test_a_token_that_stays_wrong_is_asked_for_twice_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "count"
    provider = Provider(dice=Random(1), models=MODELS, key=Secret("another"))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        endpoint = {
            "url": server.url,
            "token_command": list(program(COUNTING.format(file=str(file), most=9))),
        }
        async with sn.open_engine({"endpoints": {"e": endpoint}}) as eng:
            with pytest.raises(AuthError) as caught:
                await eng.complete("fast", "Hi", timeout=GUARD)
        assert "token-" not in f"{caught.value} {caught.value.body}"
        assert len(file.read_text()) == 2
        await server.stop(grace=GUARD)


async def test_one_of_several_keys_may_be_a_command_and_rests_when_it_prints_nothing() -> None:
    provider = Provider(dice=Random(1), models=MODELS, key=Secret("token-1"))
    keys = [
        {"command": list(program("print('token-1')"))},
        {"command": list(program("pass"))},
        Secret("token-1"),
    ]
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        config = {"endpoints": {"e": {"url": server.url, "keys": keys}}}
        async with sn.open_engine(config) as eng:
            answers = [await eng.complete("fast", "Hi", timeout=GUARD) for _ in range(6)]
        assert {answer.route for answer in answers} == {"e/fast", "e#3/fast"}
        failed = [a for answer in answers for a in answer.attempts if a.error is not None]
        assert [(a.route, type(a.error)) for a in failed] == [("e#2/fast", AuthError)]
        assert {record.credential for record in provider.log} == {"right"}
        await server.stop(grace=GUARD)


def test_a_key_and_a_command_that_prints_one_exclude_each_other() -> None:
    from streamnursery.config import config_from_mapping

    endpoint = {"url": "http://e.test/v1", "token_command": ["x"], "key": Secret("k")}
    with pytest.raises(sn.ConfigError, match="leave one of them out"):
        config_from_mapping({"endpoints": {"e": endpoint}}, environ={})
    for wrong in ("gcloud auth", [], [""], ["a", 1]):
        with pytest.raises(sn.ConfigError, match=r"must be an array of a program"):
            config_from_mapping(
                {"endpoints": {"e": {"url": "http://e.test/v1", "token_command": wrong}}},
                environ={},
            )
