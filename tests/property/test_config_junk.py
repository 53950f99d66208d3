"""Whatever a configuration holds, it is a configuration or one `ConfigError`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamnursery.config import config_from_mapping, load_config
from streamnursery.config.schema import ANY, KEYS, PREFIX, variable_name
from streamnursery.values.errors import ConfigError
from streamnursery.values.settings import EngineConfig

CANARY = "sk-canary"

WORDS = sorted({part for key in KEYS for part in key.place if part != ANY})
NAMES = st.sampled_from([
    *WORDS,
    "main",
    "openai",
    "gpt-4.1",
    "m",
    "sim",
    "sim/fast",
    "env",
    "file",
])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.sampled_from(["off", "auto", "main", "m", "sim/fast", "https://a.example/v1", "none"])
    | st.dates()
)
KEYS_OF_TABLES: st.SearchStrategy[Any] = NAMES | st.text(max_size=5) | st.integers() | st.none()
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS_OF_TABLES, inner, max_size=4),
    max_leaves=12,
)


def nested(place: tuple[str, ...], value: object) -> dict[str, object]:
    for part in reversed(place):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def merged(tables: list[dict[str, object]]) -> dict[str, object]:
    """The tables laid over each other, as far as both have tables in a place."""
    result: dict[str, object] = {}
    for table in tables:
        for name, value in table.items():
            old = result.get(name)
            if isinstance(old, dict) and isinstance(value, dict):
                result[name] = merged([old, value])
            else:
                result[name] = value
    return result


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, object]:
    """Every key in its place, with junk for a value."""
    tables = []
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=8)):
        place = tuple(draw(NAMES) if part == ANY else part for part in key.place)
        tables.append(nested(place, draw(JUNK)))
    return merged(tables)


def outcome(mapping: dict[str, object], environ: dict[str, str]) -> EngineConfig | ConfigError:
    try:
        return config_from_mapping(mapping, environ=environ, cwd=Path("/nowhere"))
    except ConfigError as error:
        return error


def check(result: EngineConfig | ConfigError) -> None:
    """An error says something, harmlessly and without repeating a key."""
    if isinstance(result, ConfigError):
        assert result.problems
        assert all(problem and problem.isprintable() for problem in result.problems)
        assert CANARY not in str(result)


@given(st.dictionaries(KEYS_OF_TABLES, JUNK, max_size=5))
def test_any_mapping_is_a_configuration_or_a_config_error(mapping: dict[str, object]) -> None:
    check(outcome(mapping, {}))


@given(nearly_right())
def test_junk_in_the_right_places_is_a_configuration_or_a_config_error(
    mapping: dict[str, object],
) -> None:
    check(outcome(mapping, {"main": CANARY, "m": "\udcff", "none": f"http://{CANARY}@x"}))


VARIABLES = [variable_name(key.place) for key in KEYS if ANY not in key.place[2:]]
PROVIDERS = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "XDG_CONFIG_HOME", "HOME"]
VARIABLE = st.sampled_from([*VARIABLES, *PROVIDERS]) | st.text(max_size=9).map(PREFIX.__add__)


@given(
    environ=st.dictionaries(VARIABLE, st.text(max_size=12), max_size=6),
    file=st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
)
def test_any_environment_and_any_file_are_a_configuration_or_a_config_error(
    environ: dict[str, str], file: bytes
) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "streamnursery.toml").write_bytes(file)
        try:
            loaded = load_config(environ=environ, cwd=Path(folder))
        except ConfigError as error:
            check(error)
        else:
            assert all(f"{s.key} {s.value}".isprintable() for s in loaded.settings)
