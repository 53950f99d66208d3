"""Endpoints that come from a provider's usual variables."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from streamnursery.config import LoadedConfig, config_from_mapping, load_config
from streamnursery.values.errors import ConfigError
from streamnursery.values.secret import Secret
from streamnursery.wire.openai_chat.client import MAX_TOKENS_FIELD


def load(flags: Mapping[str, object] | None = None, /, **environ: str) -> LoadedConfig:
    return load_config(environ=environ, cwd=Path("/nowhere"), flags=flags)


def origin(loaded: LoadedConfig, key: str) -> tuple[str, str]:
    return next((s.value, s.origin) for s in loaded.settings if s.key == key)


@pytest.mark.parametrize(
    ("variable", "name", "url"),
    [
        ("OPENAI_API_KEY", "openai", "https://api.openai.com/v1"),
        ("ANTHROPIC_API_KEY", "anthropic", "https://api.anthropic.com/v1"),
        ("GEMINI_API_KEY", "gemini", "https://generativelanguage.googleapis.com/v1beta"),
        ("GOOGLE_API_KEY", "gemini", "https://generativelanguage.googleapis.com/v1beta"),
        ("DEEPSEEK_API_KEY", "deepseek", "https://api.deepseek.com"),
        ("OPENROUTER_API_KEY", "openrouter", "https://openrouter.ai/api/v1"),
    ],
)
def test_a_providers_key_makes_its_endpoint(variable: str, name: str, url: str) -> None:
    loaded = load(**{variable: "canary"})
    assert list(loaded.config.endpoints) == [name]
    endpoint = loaded.config.endpoints[name]
    assert (str(endpoint.url), endpoint.key) == (url, Secret("canary"))
    own = {"anthropic": "anthropic-messages", "gemini": "gemini"}
    assert (endpoint.dialect, endpoint.auth) == (own.get(name, "openai-chat"), None)
    assert origin(loaded, f"endpoints.{name}.key") == ("***", f"env {variable}")
    assert loaded.config.default_endpoint == ("openai" if name == "openai" else None)


def test_without_any_variable_there_is_no_endpoint() -> None:
    config = load().config
    assert (config.endpoints, config.default_endpoint) == ({}, None)


def test_a_base_url_alone_makes_openai_an_endpoint_without_a_key() -> None:
    loaded = load(OPENAI_BASE_URL="http://127.0.0.1:8400/v1/")
    endpoint = loaded.config.endpoints["openai"]
    assert (str(endpoint.url), endpoint.key) == ("http://127.0.0.1:8400/v1", None)
    assert endpoint.missing_key == ""
    assert loaded.config.default_endpoint == "openai"
    assert origin(loaded, "endpoints.openai.url")[1] == "env OPENAI_BASE_URL"


def test_organisation_and_project_become_headers() -> None:
    endpoint = load(OPENAI_API_KEY="k", OPENAI_ORG_ID="o", OPENAI_PROJECT_ID="p").config.endpoints
    assert endpoint["openai"].headers == {"OpenAI-Organization": "o", "OpenAI-Project": "p"}


@pytest.mark.parametrize(
    ("base_url", "field"),
    [("", "max_completion_tokens"), ("http://127.0.0.1:1/v1", "max_tokens")],
)
def test_only_openais_own_server_is_asked_for_max_completion_tokens(
    base_url: str, field: str
) -> None:
    config = load(OPENAI_API_KEY="k", OPENAI_BASE_URL=base_url).config
    assert MAX_TOKENS_FIELD.of(config.endpoints["openai"]) == field


def test_the_more_particular_of_two_keys_counts() -> None:
    config = load(GOOGLE_API_KEY="general", GEMINI_API_KEY="particular").config
    assert config.endpoints["gemini"].key == Secret("particular")


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_variable_counts_as_not_set(blank: str) -> None:
    assert load(OPENAI_API_KEY=blank, OPENAI_BASE_URL=blank).config.endpoints == {}


def test_a_trailing_line_break_is_no_part_of_a_key() -> None:
    assert load(OPENAI_API_KEY="canary\n").config.endpoints["openai"].key == Secret("canary")


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "kéy", "bad\udcff"])
def test_a_key_that_no_header_can_carry_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ConfigError, match=r"env OPENAI_API_KEY: .* copy it again") as caught:
        load(OPENAI_API_KEY=key)
    assert key not in str(caught.value)


WRITTEN: dict[str, object] = {"endpoints": {"openai": {"url": "https://gateway.example/v1"}}}


def test_t4_a_providers_key_does_not_follow_to_a_url_that_somebody_wrote() -> None:
    loaded = load(WRITTEN, OPENAI_API_KEY="canary", OPENAI_ORG_ID="org")
    endpoint = loaded.config.endpoints["openai"]
    assert (endpoint.key, endpoint.headers) == (None, {})
    assert str(endpoint.url) == "https://gateway.example/v1"


def test_t4_a_broken_url_does_not_send_the_key_elsewhere_either() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"endpoints": {"openai": {"url": "nonsense"}}}, OPENAI_API_KEY="canary")
    assert len(caught.value.problems) == 1


def test_a_mentioned_provider_keeps_its_url_and_key() -> None:
    flags: dict[str, object] = {"endpoints": {"openai": {"max_tokens_field": "max_tokens"}}}
    endpoint = load(flags, OPENAI_API_KEY="canary").config.endpoints["openai"]
    assert (str(endpoint.url), endpoint.key) == ("https://api.openai.com/v1", Secret("canary"))
    assert MAX_TOKENS_FIELD.of(endpoint) == "max_tokens"


def test_a_mentioned_provider_without_its_key_says_what_is_missing() -> None:
    config = load({"endpoints": {"openai": {}}}).config
    assert config.endpoints["openai"].key is None
    assert config.endpoints["openai"].missing_key == (
        "the environment variable OPENAI_API_KEY is not set"
    )


ONE = {"url": "https://one.example"}


@pytest.mark.parametrize(
    ("endpoints", "environ", "default"),
    [
        ({"one": ONE}, {}, "one"),
        ({"one": ONE, "two": ONE}, {}, None),
        ({"one": ONE, "openai": ONE}, {}, "openai"),
        ({"one": ONE}, {"OPENAI_API_KEY": "k"}, "openai"),
        ({"one": ONE}, {"DEEPSEEK_API_KEY": "k"}, "one"),
        ({}, {"DEEPSEEK_API_KEY": "k"}, None),
        ({}, {"STREAMNURSERY_ENDPOINTS_OPENAI_KEY": "k"}, "openai"),
    ],
)
def test_unplaced_models_go_to_openai_or_to_the_only_endpoint_written(
    endpoints: dict[str, object], environ: dict[str, str], default: str | None
) -> None:
    assert load({"endpoints": endpoints}, **environ).config.default_endpoint == default


def test_a_mapping_takes_nothing_from_the_environment_that_it_does_not_mention() -> None:
    environ = {"OPENAI_API_KEY": "canary", "STREAMNURSERY_MAX_STREAMS": "5"}
    bare = config_from_mapping({}, environ=environ)
    assert (bare.endpoints, bare.max_streams) == ({}, 1000)
    named = config_from_mapping({"endpoints": {"openai": {}}}, environ=environ)
    assert named.endpoints["openai"].key == Secret("canary")


def test_a_mapping_may_hold_secrets_where_a_file_names_a_place() -> None:
    main = {"url": "https://a.example", "key": Secret("k"), "headers": {"Cookie": Secret("c")}}
    config = config_from_mapping({"endpoints": {"main": main}}, environ={})
    assert config.endpoints["main"].key == Secret("k")
    assert config.endpoints["main"].headers == {"Cookie": Secret("c")}
