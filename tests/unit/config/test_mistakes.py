"""Every mistake at once, each with its place and with what to do."""

from pathlib import Path

import pytest

from streamnursery.config import config_from_mapping, load_config
from streamnursery.values.errors import ConfigError

FIVE_MISTAKES = """\
[engine]
max_streams = -1
max_quewed = 5

[endpoints.main]
url = "ftp://api.example.com"

[models."gpt-4.1"]
routes = [{ endpoint = "mian" }]
fallback = ["gpt-5"]
"""


def problems(mapping: dict[str, object], **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(mapping, environ=environ, cwd=Path("/"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.problems


def problem(mapping: dict[str, object], **environ: str) -> str:
    """The only one."""
    (found,) = problems(mapping, **environ)
    return found


def endpoint(**keys: object) -> dict[str, object]:
    return {"endpoints": {"main": {"url": "https://api.example.com/v1", **keys}}}


def test_a_file_with_five_mistakes_reports_five(tmp_path: Path) -> None:
    path = tmp_path / "streamnursery.toml"
    path.write_text(FIVE_MISTAKES)
    with pytest.raises(ConfigError) as caught:
        load_config(environ={}, cwd=tmp_path)
    assert [found.removeprefix(f"file {path}: ") for found in caught.value.problems] == [
        "engine.max_streams: must be a whole number >= 0, not -1",
        'engine: unknown key "max_quewed"; did you mean "max_queued"?',
        "endpoints.main.url: the URL must begin with http:// or https://",
        'models."gpt-4.1".routes: no endpoint is called "mian"; did you mean "main"?',
        'models."gpt-4.1".fallback: [models] has no "gpt-5"; give it a table of its own',
    ]
    assert str(caught.value).startswith("5 configuration errors:\n  file ")


def test_all_sources_are_read_before_anything_is_reported(tmp_path: Path) -> None:
    (tmp_path / "streamnursery.toml").write_text("[engine]\ntrust_env = 1\n")
    environ = {"STREAMNURSERY_MAX_QUEUED": "many", "OPENAI_BASE_URL": "localhost:8000"}
    with pytest.raises(ConfigError) as caught:
        load_config(environ=environ, cwd=tmp_path, flags={"engine": {"max_streams": 1.5}})
    places = [problem.split(": ")[:2] for problem in caught.value.problems]
    assert places == [
        ["flag", "engine.max_streams"],
        [f"file {tmp_path / 'streamnursery.toml'}", "engine.trust_env"],
        ["env STREAMNURSERY_MAX_QUEUED", "engine.max_queued"],
        ["env OPENAI_BASE_URL", "endpoints.openai.url"],
    ]


@pytest.mark.parametrize(
    "value",
    [-1, 1.0, True, "5", float("nan"), [], {}, 10**12 + 1, pytest.param(10**5000, id="huge")],
)
def test_a_limit_is_a_whole_number_from_zero_on(value: object) -> None:
    assert "must be a whole number >= 0" in problem({"engine": {"max_streams": value}})


def test_a_limit_may_be_zero() -> None:
    config = config_from_mapping({"defaults": {"max_streams": 0}}, environ={})
    assert config.default_max_streams == 0


@pytest.mark.parametrize("key", ["buffer_events", "buffer_bytes", "max_buffered_bytes"])
def test_a_buffer_holds_at_least_one(key: str) -> None:
    assert "must be a whole number >= 1, not 0" in problems({"engine": {key: 0}})[0]


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        True,
        float("nan"),
        float("inf"),
        "auto",
        "5",
        None.__class__,
        pytest.param(10**5000, id="huge"),
    ],
)
def test_a_clock_is_seconds_above_zero_or_off(value: object) -> None:
    found = problem({"defaults": {"patience": {"idle": value}}})
    assert 'must be seconds > 0 or "off"' in found


@pytest.mark.parametrize(("value", "means"), [("auto", "auto"), ("off", None), (5, 5.0)])
def test_the_clock_of_the_whole_attempt_may_be_auto(value: object, means: object) -> None:
    config = config_from_mapping({"defaults": {"patience": {"total": value}}}, environ={})
    assert config.patience.total == means


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attempts", 0, "must be a whole number >= 1, not 0"),
        ("attempts", True, "must be a whole number >= 1, not true"),
        ("base", 0, "must be seconds > 0, not 0"),
        ("cap", float("nan"), "must be seconds > 0, not nan"),
        ("retry_after_cap", -1, "must be seconds >= 0, not -1"),
    ],
)
def test_retries_are_checked(key: str, value: object, message: str) -> None:
    assert message in problem({"defaults": {"retries": {key: value}}})


@pytest.mark.parametrize("table", ["defaults", "models.m"])
def test_a_backoff_may_not_start_above_its_cap(table: str) -> None:
    retries = {"retries": {"base": 50}}
    mapping = {"defaults": retries} if table == "defaults" else {"models": {"m": retries}}
    found = problem(dict(mapping))
    assert f"{table}.retries.base: must not be above `cap`: 50 s is more than 30 s" in found


def test_the_buffer_of_one_stream_may_not_be_above_that_of_all() -> None:
    found = problem({"engine": {"max_buffered_bytes": 1000}})
    assert "262144 bytes for one stream are more than the 1000 of `max_buffered_bytes`" in found


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("modles",), 'unknown key "modles"; did you mean "models"?'),
        (("engine", "maxstreams"), 'engine: unknown key "maxstreams"; did you mean "max_streams"?'),
        (
            ("models", "m", "downgrade_dearer"),
            'models.m: "downgrade_dearer" was renamed: write "downgrade_to_higher_price"',
        ),
        (("endpoints", "a", "api_key"), 'unknown key "api_key"; did you mean "key"?'),
        (("endpoints", "a", "base_url"), 'unknown key "base_url"; did you mean "url"?'),
        (("models", "m", "patience", "idel"), 'unknown key "idel"; did you mean "idle"?'),
        (("models", "m", "rph"), 'models.m: unknown key "rph"; did you mean "rpm"?'),
        (("defaults", "qqqq"), 'unknown key "qqqq"; there is "extra", "max_streams", '),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(path: tuple[str, ...], message: str) -> None:
    mapping: object = 5
    for part in reversed(path):
        mapping = {part: mapping}
    assert isinstance(mapping, dict)
    assert any(message in found for found in problems(mapping))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "dialect",
            "openai",
            'must be "openai-chat", "openai-responses", "anthropic-messages", "gemini", ',
        ),
        ("auth", "baerer", 'did you mean "bearer"?'),
        ("auth", 5, '"x-goog-api-key" or "none"'),
        ("http", "2.0", 'must be "auto", "1.1", "2" or "h2c"'),
        ("http", 1.1, 'must be "auto", "1.1", "2" or "h2c"'),
        ("http", "h2c", 'is HTTP/2 without TLS; for https:// write "2"'),
        ("max_tokens_field", "max tokens", "must be the name of a request field"),
        ("max_tokens_field", "", "must be the name of a request field"),
        ("include_usage", "yes", "must be true or false, not text"),
        ("insecure", 1, "must be true or false, not 1"),
        ("url", 5, "must be a URL such as https://api.example.com/v1, not 5"),
        ("url", "http://127.0.0.1:1@evil", "has a user name in it"),
        ("ca_file", "/not/there.pem", "the file cannot be read: No such file"),
        ("ca_file", "\0", "is no path that a file could have"),
        ("ca_file", [], "must be the path of a PEM file, not an array"),
        ("headers", [], "endpoints.main.headers: must be a table, not an array"),
        ("headers", {"Host": "x"}, "is written by the transport"),
        ("headers", {"X-A": "a\nb"}, "control characters"),
        ("headers", {"X A": "a"}, "characters that a header name may not have"),
        ("headers", {"X-A": 5}, "must be text, { env"),
        ("query", {"api-version": 5}, "must be text, not 5; write it in quotes"),
        ("query", {"v": "a\nb"}, "must be printable text"),
        ("proxy", 5, "must be a URL such as http://proxy.example.com:3128, not 5"),
        ("proxy", "socks5://h:1", "SOCKS proxies are not supported"),
        ("proxy", "https://h:1", "must begin with http://"),
        ("proxy", "http://h:1/path", "has no path"),
    ],
)
def test_an_endpoints_keys_are_checked(key: str, value: object, message: str) -> None:
    found = problem(endpoint(**{key: value}))
    assert f"endpoints.main.{key}" in found
    assert message in found


@pytest.mark.parametrize("name", ["a b", "a/b", "", "-a", "x" * 65, "sim", "é"])
def test_an_endpoints_name_is_checked(name: str) -> None:
    found = problem({"endpoints": {name: {"url": "https://api.example.com"}}})
    assert "endpoints: " in found
    assert "cannot name an endpoint" in found or "is the built-in simulator" in found


@pytest.mark.parametrize("name", ["", " a", "a\n", "\x1b[31m", "x" * 201])
def test_a_models_name_is_checked_and_shown_harmlessly(name: str) -> None:
    found = problem({"models": {name: {}}})
    assert "cannot name a model" in found
    assert found.isprintable()


def test_an_endpoint_without_a_url_is_reported_once_and_by_name() -> None:
    assert "endpoints.main.url: is missing; write url =" in problem({"endpoints": {"main": {}}})


def test_a_broken_url_is_not_missing_too() -> None:
    assert len(problems({"endpoints": {"main": {"url": "x"}}})) == 1


@pytest.mark.parametrize(
    ("routes", "messages"),
    [
        ("main", ["must be an array of tables such as"]),
        ([], ["is empty; name an endpoint"]),
        ([5, "main"], ["item 1: must be a table", "item 2: must be a table"]),
        ([{"endpoint": "main", "name": "x"}], ['item 1: unknown key "name"']),
        ([{"model": "x"}], ["item 1: `endpoint` must be the name of an endpoint"]),
        ([{"endpoint": "main", "model": ""}], ["item 1: `model` must be the model's name"]),
        ([{5: 6}], ["item 1: unknown key 5"]),
        ([{}, {"endpoint": "mian"}], ["item 1: `endpoint`", 'called "mian"; did you mean "main"?']),
        ([{"endpoint": "zzz"}], ['no endpoint is called "zzz"; there is "main"']),
    ],
)
def test_routes_are_checked(routes: object, messages: list[str]) -> None:
    found = problems({**endpoint(), "models": {"m": {"routes": routes}}})
    assert len(found) == len(messages)
    for one, message in zip(found, messages, strict=True):
        assert message in one


def test_a_route_takes_the_models_own_name_and_may_lead_to_the_simulator() -> None:
    routes = [{"endpoint": "main"}, {"endpoint": "main", "model": "there"}, {"endpoint": "sim"}]
    config = config_from_mapping({**endpoint(), "models": {"m": {"routes": routes}}}, environ={})
    assert [str(r) for r in config.models["m"].routes] == ["main/m", "main/there", "sim/m"]


def test_a_simulated_model_takes_limits_and_no_routes() -> None:
    config = config_from_mapping({"models": {"sim/fast": {"max_streams": 3}}}, environ={})
    assert config.models["sim/fast"].max_streams == 3
    routed = {**endpoint(), "models": {"sim/fast": {"routes": [{"endpoint": "main"}]}}}
    assert "leave `routes` out" in problem(routed)


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ("m", "must be an array of model names, not text"),
        ([5], "item 1: must be a model name, not 5"),
        (["zzz"], '[models] has no "zzz"; give it a table of its own'),
        (["gpt-4.1-mimi"], '[models] has no "gpt-4.1-mimi"; did you mean "gpt-4.1-mini"?'),
        (["m"], 'leads back to itself: "m" -> "m"; break the circle'),
        (["gpt-4.1-mini"], 'leads back to itself: "m" -> "gpt-4.1-mini" -> "m"'),
    ],
)
def test_fallbacks_are_checked(fallback: object, message: str) -> None:
    other = {"fallback": ["m"]} if fallback == ["gpt-4.1-mini"] else {}
    models = {"m": {"fallback": fallback}, "gpt-4.1-mini": other}
    assert message in problem({"models": models})


@pytest.mark.parametrize(("circles", "told"), [(3, 3), (25, 10)])
def test_a_circle_of_fallbacks_is_reported_once_and_ten_are_enough(circles: int, told: int) -> None:
    models = {str(n): {"fallback": [str(n ^ 1)]} for n in range(2 * circles)}
    assert len(problems({"models": models})) == told


def test_a_long_chain_of_fallbacks_is_no_circle() -> None:
    models: dict[str, object] = {str(n): {"fallback": [str(n + 1)]} for n in range(3000)}
    config = config_from_mapping({"models": {**models, "3000": {}}}, environ={})
    assert config.models["0"].fallback == ("1",)


def test_fallback_may_lead_to_the_simulator() -> None:
    config = config_from_mapping({"models": {"m": {"fallback": ["sim/fast"]}}}, environ={})
    assert config.models["m"].fallback == ("sim/fast",)


def test_a_thousand_mistakes_are_counted_and_a_hundred_told() -> None:
    found = problems({"engine": {f"key{n}": 1 for n in range(1000)}})
    assert len(found) == 101
    assert found[-1] == "and 900 more; fix these first"


def test_keys_that_are_no_text_are_reported() -> None:
    junk: dict[str, object] = {"engine": {5: 6, None: 7, (1, 2): 8}}
    assert [found.rpartition("not ")[2] for found in problems(junk)] == [
        "5",
        "a NoneType",
        "an array",
    ]


@pytest.mark.parametrize("table", [[], 5, "x", b"x", object()])
def test_a_table_must_be_a_table(table: object) -> None:
    assert "mapping: engine: must be a table" in problem({"engine": table})


def test_a_name_that_would_write_to_the_terminal_is_escaped_and_cut() -> None:
    found = problem({"engine": {"\x1b[2J" + "x" * 100_000: 1}})
    assert found.isprintable()
    assert len(found) < 400
