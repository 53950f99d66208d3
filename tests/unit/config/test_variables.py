"""The engine's own environment variables: one for every setting."""

from pathlib import Path

import pytest

from streamnursery.config import load_config
from streamnursery.config.schema import ANY, KEYS, variable_name
from streamnursery.values.errors import ConfigError
from streamnursery.values.secret import Secret
from streamnursery.values.settings import EngineConfig

FILE = """\
[endpoints.main]
url = "https://api.example.com/v1"
[models."gpt-4.1"]
"""


def load(cwd: Path, *, file: str = FILE, **environ: str) -> EngineConfig:
    (cwd / "streamnursery.toml").write_text(file)
    return load_config(environ=environ, cwd=cwd).config


def problems(cwd: Path, *, file: str = FILE, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(cwd, file=file, **environ)
    return caught.value.problems


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("engine", "max_streams"), "STREAMNURSERY_MAX_STREAMS"),
        (("defaults", "max_streams"), "STREAMNURSERY_DEFAULTS_MAX_STREAMS"),
        (("defaults", "patience", "idle"), "STREAMNURSERY_DEFAULTS_PATIENCE_IDLE"),
        (("endpoints", "my-own.one", "url"), "STREAMNURSERY_ENDPOINTS_MY_OWN_ONE_URL"),
        (("models", "gpt-4.1", "max_streams"), "STREAMNURSERY_MODELS_GPT_4_1_MAX_STREAMS"),
    ],
)
def test_a_variable_is_named_after_the_path(place: tuple[str, ...], name: str) -> None:
    assert variable_name(place) == name


def test_every_fixed_setting_has_a_variable_of_its_own() -> None:
    names = [variable_name(key.place) for key in KEYS if ANY not in key.place]
    assert len(set(names)) == len(names)


def test_numbers_words_and_texts_are_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        STREAMNURSERY_MAX_STREAMS="7",
        STREAMNURSERY_TRUST_ENV="true",
        STREAMNURSERY_DEFAULTS_PATIENCE_IDLE="off",
        STREAMNURSERY_DEFAULTS_PATIENCE_CONNECT="2.5",
        STREAMNURSERY_ENDPOINTS_MAIN_HTTP=" 1.1 ",
        STREAMNURSERY_ENDPOINTS_MAIN_URL="http://127.0.0.1:8400/v1",
    )
    assert (config.max_streams, config.trust_env) == (7, True)
    assert (config.patience.idle, config.patience.connect) == (None, 2.5)
    assert config.endpoints["main"].http == "1.1"
    assert str(config.endpoints["main"].url) == "http://127.0.0.1:8400/v1"


def test_arrays_are_written_as_in_toml(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        STREAMNURSERY_MODELS_GPT_4_1_ROUTES='[{ endpoint = "main", model = "x" }]',
        STREAMNURSERY_MODELS_GPT_4_1_FALLBACK='["sim/fast"]',
    )
    model = config.models["gpt-4.1"]
    assert [str(route) for route in model.routes] == ["main/x"]
    assert model.fallback == ("sim/fast",)


def test_the_variable_of_a_key_is_the_key_itself(tmp_path: Path) -> None:
    config = load(tmp_path, STREAMNURSERY_ENDPOINTS_MAIN_KEY="canary\n")
    assert config.endpoints["main"].key == Secret("canary")


def test_the_variable_of_a_proxy_may_hold_a_password(tmp_path: Path) -> None:
    config = load(tmp_path, STREAMNURSERY_ENDPOINTS_MAIN_PROXY="http://me:canary@proxy")
    assert config.endpoints["main"].proxy == "http://me:canary@proxy:80"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MAX_STREAMS", "many", "engine.max_streams: must be a whole number >= 0, not text"),
        ("MAX_STREAMS", "1\nmax_queued = 2", "must be a whole number >= 0, not text"),
        ("TRUST_ENV", "yes", "engine.trust_env: must be true or false, not text"),
        ("MODELS_GPT_4_1_FALLBACK", "a,b", "must be an array of model names, not text"),
        ("ENDPOINTS_MAIN_KEY", "two words", "copy it again"),
    ],
)
def test_a_variable_with_a_wrong_value_is_named(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (found,) = problems(tmp_path, **{f"STREAMNURSERY_{name}": text})
    assert found.startswith(f"env STREAMNURSERY_{name}: ")
    assert message in found


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAX_STREAM", "MAX_STREAMS"),
        ("DEFAULT_MAX_STREAMS", "DEFAULTS_MAX_STREAMS"),
        ("ENDPOINTS_MIAN_URL", "ENDPOINTS_MAIN_URL"),
    ],
)
def test_a_variable_that_is_nearly_ours_is_a_mistake(tmp_path: Path, name: str, meant: str) -> None:
    (found,) = problems(tmp_path, **{f"STREAMNURSERY_{name}": "5"})
    assert f"env STREAMNURSERY_{name}: sets nothing" in found
    assert f"did you mean STREAMNURSERY_{meant}?" in found


@pytest.mark.parametrize("name", ["TIER", "CORPORA", "COLOUR", "X"])
def test_a_variable_that_is_nothing_like_ours_belongs_to_somebody_else(
    tmp_path: Path, name: str
) -> None:
    assert load(tmp_path, **{f"STREAMNURSERY_{name}": "5"}).max_streams == 1000


def test_a_variable_that_could_mean_two_settings_is_refused(tmp_path: Path) -> None:
    file = FILE + '[models."gpt-4-1"]\n'
    (found,) = problems(tmp_path, file=file, STREAMNURSERY_MODELS_GPT_4_1_MAX_STREAMS="5")
    assert "names two settings; set both in the configuration file" in found
