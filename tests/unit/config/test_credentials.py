"""Keys: where they may stand, and that they show nowhere (T2)."""

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from traceback import TracebackException

import pytest

from streamnursery.config import LoadedConfig, config_from_mapping, load_config
from streamnursery.config.credentials import Absent
from streamnursery.config.load import shown
from streamnursery.values.errors import ConfigError
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint

CANARY = "sk-canary-" + "7" * 20


def main(keys: dict[str, object], *, routed: bool = False) -> dict[str, object]:
    models = {"m": {"routes": [{"endpoint": "main"}]}} if routed else {}
    return {"endpoints": {"main": {"url": "https://a.example", **keys}}, "models": models}


def read(cwd: Path, **keys: object) -> Endpoint:
    return config_from_mapping(main(keys), environ={"KEY": CANARY}, cwd=cwd).endpoints["main"]


def test_a_key_is_read_from_a_variable(tmp_path: Path) -> None:
    assert read(tmp_path, key={"env": "KEY"}).key == Secret(CANARY)


@pytest.mark.parametrize("named", ["key.txt", "sub/../key.txt"])
def test_a_key_is_read_from_a_file_beside_the_one_that_names_it(tmp_path: Path, named: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "key.txt").write_text(CANARY + "\n")
    assert read(tmp_path, key={"file": named}).key == Secret(CANARY)


def test_a_path_may_begin_at_home(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(CANARY)
    environ = {"HOME": str(tmp_path)}
    mapping = main({"key": {"file": "~/key.txt"}, "ca_file": "~/key.txt"})
    endpoint = config_from_mapping(mapping, environ=environ, cwd=Path("/")).endpoints["main"]
    assert (endpoint.key, endpoint.ca_file) == (Secret(CANARY), str(tmp_path / "key.txt"))


def test_headers_hold_texts_and_secrets(tmp_path: Path) -> None:
    headers = {"X-Team": "a", "Cookie": {"env": "KEY"}}
    assert read(tmp_path, headers=headers).headers == {"X-Team": "a", "Cookie": Secret(CANARY)}


def test_a_proxys_password_comes_from_a_variable() -> None:
    environ = {"PROXY": f"http://me:{CANARY}@[::1]:3128"}
    mapping = main({"proxy": {"env": "PROXY"}})
    endpoint = config_from_mapping(mapping, environ=environ).endpoints["main"]
    assert endpoint.proxy == f"http://me:{CANARY}@[::1]:3128"


WRONG_PLACES: list[dict[str, object]] = [
    {"key": CANARY},
    {"key": {"env": CANARY}},
    {"key": {"env": "KEY", "file": CANARY}},
    {"key": {"value": CANARY}},
    {"key": [CANARY]},
    {"key": {"file": f"/{CANARY}\0"}},
    {"auth": CANARY},
    {"url": f"https://{CANARY}@a.example"},
    {"url": f"https://a.example?key={CANARY}"},
    {"headers": {"Authorization": f"Bearer {CANARY}"}},
    {"headers": {"X-Odd": f"Bearer {CANARY}"}},
    {"headers": {"X-Api-Key": CANARY}},
    {"headers": {"X-Odd": [CANARY]}},
    {"headers": {"X-Odd": {"env": CANARY.replace("-", "_"), "x": 1}}},
    {"query": {"api_key": CANARY}},
    {"query": {"q": f"{CANARY}\n"}},
    {"proxy": f"http://me:{CANARY}@proxy:1"},
    {"proxy": {"env": "PROXY"}},
    {"max_tokens_field": CANARY},
    {"include_usage": CANARY},
    {"ca_file": f"{CANARY}.pem"},
]


@pytest.mark.parametrize("keys", WRONG_PLACES, ids=lambda keys: str(next(iter(keys))))
def test_t2_a_credential_in_a_wrong_place_is_refused_and_not_repeated(
    keys: dict[str, object],
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(
            main(keys), environ={"PROXY": f"http://{CANARY}@proxy@x", "KEY": CANARY}
        )
    assert len(caught.value.problems) == 1
    assert CANARY not in str(caught.value)
    assert_no_canary(caught.value)


def assert_no_canary(error: ConfigError) -> None:
    """Neither the error nor a frame of ours holds the canary."""
    trace = TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in trace.stack if f"{os.sep}engine{os.sep}" in frame.filename]
    assert ours
    assert CANARY not in str([frame.locals for frame in ours])
    assert trace.__cause__ is None
    assert trace.__context__ is None
    for text in (repr(error), str(vars(error)), str(pickle.dumps(error)), repr(copy.copy(error))):
        assert CANARY not in text


def test_t2_no_frame_of_an_error_holds_the_environment_or_the_file(tmp_path: Path) -> None:
    (tmp_path / "streamnursery.toml").write_text(
        f'[endpoints.main]\nkey = "{CANARY}"\n[engine]\nmax_streams = -1\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(
            environ={"OPENAI_API_KEY": CANARY, "STREAMNURSERY_ENDPOINTS_MAIN_KEY": CANARY + " x"},
            cwd=tmp_path,
            flags={"engine": {"max_queued": CANARY}},
        )
    assert len(caught.value.problems) == 5
    assert_no_canary(caught.value)


@pytest.mark.parametrize(
    "text", [f'key = "{CANARY}', f"{CANARY}", f'key = "{CANARY}" x', "a = 1\x00"]
)
def test_t2_a_syntax_error_does_not_repeat_the_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "streamnursery.toml").write_text(text)
    with pytest.raises(ConfigError, match="is not TOML") as caught:
        load_config(environ={}, cwd=tmp_path)
    assert_no_canary(caught.value)


@pytest.mark.parametrize("name", ["lower_case_key", "A" * 65])
def test_t2_what_does_not_look_like_a_variables_name_is_not_shown(name: str) -> None:
    config = config_from_mapping(main({"key": {"env": name}}), environ={})
    assert config.endpoints["main"].missing_key == (
        "the environment variable named there is not set"
    )


def full(tmp_path: Path) -> LoadedConfig:
    (tmp_path / "key.txt").write_text(CANARY)
    (tmp_path / "streamnursery.toml").write_text("""
        [endpoints.main]
        url = "https://a.example"
        key = { file = "key.txt" }
        headers = { X-Api-Key = { env = "OTHER" }, X-Team = "a" }
        proxy = { env = "PROXY" }
        [endpoints.bare]
        url = "https://b.example"
        key = { env = "UNSET" }
    """)
    environ = {"OPENAI_API_KEY": CANARY, "OTHER": CANARY, "PROXY": f"http://a:{CANARY}@p:1"}
    return load_config(environ=environ, cwd=tmp_path)


VIEWS: list[Callable[[object], object]] = [repr, str, copy.copy, copy.deepcopy]


@pytest.mark.parametrize("view", VIEWS)
def test_t2_a_loaded_configuration_shows_no_key(
    tmp_path: Path, view: Callable[[object], object]
) -> None:
    loaded = full(tmp_path)
    endpoints = loaded.config.endpoints.values()
    for value in (loaded, loaded.config, loaded.settings, *endpoints):
        assert CANARY not in str(view(value))


def test_t2_a_configuration_with_a_key_is_not_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(full(tmp_path))


def test_the_settings_say_where_each_credential_comes_from(tmp_path: Path) -> None:
    loaded = full(tmp_path)
    file = f"file {loaded.file}"
    found = {s.key: (s.value, s.origin) for s in loaded.settings}
    assert found["endpoints.main.key"] == ("***", f"a file, named in {file}")
    assert found["endpoints.main.headers.X-Api-Key"] == ("***", f"env OTHER, named in {file}")
    assert found["endpoints.main.headers.X-Team"] == ('"a"', file)
    assert found["endpoints.main.proxy"] == ('"http://***@p:1"', f"env PROXY, named in {file}")
    assert found["endpoints.bare.key"] == ("not set", f"env UNSET, named in {file}")
    assert found["endpoints.openai.key"] == ("***", "env OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "its file cannot be read: No such file or directory"),
        ("\n", "its file is empty"),
    ],
)
def test_a_key_file_without_a_key_leaves_the_endpoint_without(
    tmp_path: Path, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "key.txt").write_text(content)
    endpoint = read(tmp_path, key={"file": "key.txt"})
    assert (endpoint.key, endpoint.missing_key) == (None, why)


@pytest.mark.parametrize("content", [b"two\nlines", b"\xff", b"x" * (64 * 1024 + 1)])
def test_a_key_file_that_holds_something_else_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.txt").write_bytes(content)
    with pytest.raises(ConfigError, match="a file with one line of plain text"):
        read(tmp_path, key={"file": "key.txt"})


@pytest.mark.parametrize(
    "keys", [{"key": {"env": "UNSET"}}, {"headers": {"X-Auth": {"env": "UNSET"}}}]
)
def test_an_absent_credential_disables_its_endpoint_and_not_the_program(
    keys: dict[str, object],
) -> None:
    why = "the environment variable UNSET is not set"
    for routed in (False, True):
        config = config_from_mapping(main(keys, routed=routed), environ={})
        found = config.endpoints["main"]
        assert (found.key, found.headers, found.missing_key) == (None, {}, why)
        assert config.unusable_models() == (("m",) if routed else ())
        assert config.routed_to("main") == (("m",) if routed else ())


def test_an_absent_proxy_is_always_a_mistake() -> None:
    with pytest.raises(ConfigError, match="UNSET is not set; set it, or leave `proxy` out"):
        config_from_mapping(main({"proxy": {"env": "UNSET"}}), environ={})


def test_empty_texts_stand_for_nothing(tmp_path: Path) -> None:
    endpoint = read(tmp_path, proxy="", ca_file="", headers={"X-Empty": ""}, query={"a": ""})
    assert (endpoint.proxy, endpoint.ca_file) == ("", "")
    assert (endpoint.headers, endpoint.query) == ({"X-Empty": ""}, {"a": ""})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (0.5, "0.5"),
        (True, "true"),
        (None, '"off"'),
        ("a\x1b", '"a\\u001b"'),
        ("http://[", '"http://["'),
        (("a", "b"), '["a", "b"]'),
        (Secret("x"), "***"),
        (Absent("why"), "not set"),
    ],
)
def test_a_value_is_shown_as_toml_writes_it(value: object, text: str) -> None:
    assert shown(value) == text
