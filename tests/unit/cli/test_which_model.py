"""Which model is asked, and what is said when there is none."""

import pytest

from streamnursery.cli.exits import Exit
from streamnursery.cli.which_model import chosen_models
from streamnursery.config import LoadedConfig, load_config
from tests.support.cli import Command


@pytest.fixture
def loaded(command: Command) -> LoadedConfig:
    del command
    return load_config()


def test_an_openai_key_alone_asks_a_model_of_openai_s(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    del command
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    assert chosen_models(None, load_config()) == ["gpt-4.1-mini"]


def test_the_first_configured_model_is_the_default(command: Command) -> None:
    path = command.write("c.toml", '[models."sim/fast"]\n[models."sim/gpt-4.1"]\n')
    assert chosen_models(None, load_config(path)) == ["sim/fast"]


def test_what_is_asked_for_comes_in_order_and_once(loaded: LoadedConfig) -> None:
    names = ["sim/gpt-4.1", "sim/fast", "sim/gpt-4.1"]
    assert chosen_models(names, loaded) == ["sim/gpt-4.1", "sim/fast"]


def test_without_key_and_simulator_the_error_says_what_to_set_or_type(command: Command) -> None:
    for words in (("ask", "Hi"), ("ask", "Hi", "-m", "gpt-4.1")):
        ran = command(*words)
        assert ran.code == Exit.USAGE
        assert "OPENAI_API_KEY" in ran.err
        assert "-m sim/fast" in ran.err


def test_another_server_may_serve_any_name_and_wants_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ran = command("ask", "Hi")
    assert ran.code == Exit.USAGE
    assert "no model was named" in ran.err
    assert chosen_models(["anything"], load_config()) == ["anything"]


def test_a_model_that_no_endpoint_serves_is_told_with_the_nearest_name(command: Command) -> None:
    text = '[endpoints.a]\nurl = "http://127.0.0.1:9/v1"\n[endpoints.b]\nurl = "http://127.0.0.1:8"'
    path = command.write("c.toml", f'{text}\n[models.falcon]\nroutes = [{{ endpoint = "a" }}]\n')
    ran = command("ask", "Hi", "-m", "falcno", "--config", str(path))
    assert ran.code == Exit.USAGE
    assert "did you mean falcon?" in ran.err
    assert 'routes = [{ endpoint = "a" }]' in ran.err


def test_an_empty_name_is_no_model(command: Command) -> None:
    assert "empty" in command("ask", "Hi", "-m", " ").err


def test_every_mistake_of_the_configuration_is_told(command: Command) -> None:
    text = "[engine]\nmax_steams = 3\nmax_queued = -1\ntrust_env = 1\n[defalts]\n[models.x]\ny = 1"
    path = command.write("c.toml", text)
    ran = command("ask", "Hi", "-m", "sim/fast", "--config", str(path))
    assert ran.code == Exit.USAGE
    assert "5 mistakes in the configuration" in ran.err
    assert 'did you mean "max_streams"?' in ran.err


@pytest.mark.filterwarnings("default:endpoint 'a' is insecure")
def test_a_warning_is_one_line_without_a_place_in_the_code(command: Command) -> None:
    text = '[endpoints.a]\nurl = "https://127.0.0.1:9/v1"\ninsecure = true\n'
    path = command.write("c.toml", text)
    ran = command("ask", "Hi", "-m", "sim/fast", "--config", str(path))
    assert ran.err == "warning: endpoint 'a' is insecure: its certificate is not checked\n"


@pytest.mark.parametrize(
    ("variable", "asked", "chosen"),
    [
        ("ANTHROPIC_API_KEY", None, "anthropic/claude-sonnet-4-5"),
        ("ANTHROPIC_API_KEY", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("ANTHROPIC_API_KEY", "anthropic/claude-next", "anthropic/claude-next"),
        ("GEMINI_API_KEY", None, "gemini/gemini-2.5-flash"),
        ("GROQ_API_KEY", "groq/llama-3.1-8b-instant", "groq/llama-3.1-8b-instant"),
    ],
)
def test_a_providers_key_alone_is_enough(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    asked: str | None,
    chosen: str,
) -> None:
    del command
    monkeypatch.setenv(variable, "not-a-key")
    assert chosen_models([asked] if asked else None, load_config()) == [chosen]
