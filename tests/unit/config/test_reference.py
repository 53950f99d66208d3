"""The written reference and the template say what the code does."""

import re
import tomllib
from pathlib import Path

import pytest

from streamnursery.config import TEMPLATE, config_from_mapping, load_config
from streamnursery.config.load import shown
from streamnursery.config.providers import PROVIDERS
from streamnursery.config.schema import ANY, KEYS, NO_DEFAULT, Key, variable_name
from streamnursery.values.settings import EngineConfig

REFERENCE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
NAMES = {
    "endpoints": "NAME",
    "models": "NAME",
    "tenants": "NAME",
    "groups": "NAME",
    "headers": "HEADER",
    "query": "PARAMETER",
}


def rows() -> list[tuple[str, ...]]:
    """The lines of the tables of keys: key, value, unit, default, meaning."""
    lines = [line.split("|")[1:-1] for line in REFERENCE.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip() for cell in cells) for cells in lines if len(cells) == 5]


def in_words(key: Key) -> str:
    """The path with words in the place of the asterisks."""
    parents = ("", *key.place)
    parts = zip(parents, key.place, strict=False)
    return ".".join(NAMES[parent] if part == ANY else part for parent, part in parts)


def expected(key: Key) -> tuple[str, ...]:
    default = "" if key.default is NO_DEFAULT else f"`{shown(key.default)}`"
    return f"`{in_words(key)}`", key.kind.form, key.unit, default


def written(row: tuple[str, ...]) -> tuple[str, ...]:
    """As `expected`; words instead of a default say what holds without one."""
    return (*row[:3], row[3] if row[3].startswith("`") else "")


def test_the_reference_has_every_key_with_its_form_unit_and_default() -> None:
    assert [written(row) for row in rows()] == [expected(key) for key in KEYS]


def test_every_key_of_the_reference_is_explained() -> None:
    assert [row[0] for row in rows() if not row[4].endswith(".") or not row[3]] == []


def test_the_reference_has_every_providers_variables_and_address() -> None:
    lines = REFERENCE.splitlines()
    for provider in PROVIDERS:
        (line,) = (line for line in lines if line.startswith(f"| `{provider.name}` "))
        headers = [variable for _, variable in provider.headers]
        for word in (provider.url, *provider.keys, provider.url_variable, *headers):
            assert word in line


def test_the_examples_of_the_reference_are_configurations(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)
    assert examples
    for example in examples:
        environ = {"ACME_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "OPENAI_API_KEY": "k"}
        (tmp_path / "streamnursery.toml").write_text(example)
        assert load_config(environ=environ, cwd=tmp_path).config != EngineConfig()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("engine", "max_streams"), "`STREAMNURSERY_MAX_STREAMS`"),
        (("defaults", "patience", "idle"), "`STREAMNURSERY_DEFAULTS_PATIENCE_IDLE`"),
        (("models", "gpt-4.1", "max_streams"), "`STREAMNURSERY_MODELS_GPT_4_1_MAX_STREAMS`"),
    ],
)
def test_the_variables_that_the_reference_gives_as_examples_are_right(
    place: tuple[str, ...], name: str
) -> None:
    assert f"`{variable_name(place)}`" == name
    assert name in REFERENCE


def switched_on() -> dict[str, object]:
    return tomllib.loads(re.sub(r"(?m)^#(?=[\w\[])", "", TEMPLATE))


def test_the_template_as_written_changes_nothing() -> None:
    assert tomllib.loads(TEMPLATE) == {}


def test_the_template_switched_on_is_a_configuration_with_the_defaults() -> None:
    config = config_from_mapping(switched_on(), environ={"MAIN_API_KEY": "k"})
    assert config.endpoints["main"].auth == "bearer"
    defaults = EngineConfig()
    for name in ("max_streams", "max_queued", "default_max_streams", "patience", "retries"):
        assert getattr(config, name) == getattr(defaults, name)
    for name in ("buffer_events", "buffer_bytes", "max_buffered_bytes", "max_idle_connections"):
        assert getattr(config, name) == getattr(defaults, name)


def test_the_template_has_every_key() -> None:
    mapping = switched_on()
    for key in KEYS:
        assert found(mapping, key), key.name


def found(mapping: object, key: Key) -> bool:
    """Whether the template has the key; of a model's policies one line each is enough."""
    nodes = [mapping]
    place = key.place[:3] if key.place[0] == "models" else key.place
    for part in place:
        tables = [node for node in nodes if isinstance(node, dict)]
        if part == ANY:
            nodes = [value for table in tables for value in table.values()]
        else:
            nodes = [table[part] for table in tables if part in table]
    return bool(nodes)
