"""Where a setting is taken from, and what it says about that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streamnursery.config import LoadedConfig, load_config
from streamnursery.values.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def origin(loaded: LoadedConfig, key: str) -> tuple[str, str]:
    return next((s.value, s.origin) for s in loaded.settings if s.key == key)


def load(
    cwd: Path,
    *,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
    path: Path | None = None,
) -> LoadedConfig:
    return load_config(path, environ=environ or {}, cwd=cwd, flags=flags)


FILE = "[engine]\nmax_streams = 30\n"
VARIABLE = {"STREAMNURSERY_MAX_STREAMS": "20"}
FLAG: dict[str, object] = {"engine": {"max_streams": 10}}


@pytest.mark.parametrize(
    ("flags", "environ", "file", "value", "source"),
    [
        (FLAG, VARIABLE, FILE, 10, "flag"),
        ({}, VARIABLE, FILE, 20, "env STREAMNURSERY_MAX_STREAMS"),
        ({}, {}, FILE, 30, "file {file}"),
        ({}, {}, "", 1000, "default"),
        ({"engine": {"max_streams": None}}, {}, FILE, 30, "file {file}"),
        ({}, {"STREAMNURSERY_MAX_STREAMS": " "}, FILE, 30, "file {file}"),
    ],
)
def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(
    tmp_path: Path,
    flags: dict[str, object],
    environ: dict[str, str],
    file: str,
    value: int,
    source: str,
) -> None:
    path = write(tmp_path / "streamnursery.toml", file)
    loaded = load(tmp_path, environ=environ, flags=flags)
    assert loaded.config.max_streams == value
    assert origin(loaded, "engine.max_streams") == (str(value), source.format(file=path))


def test_the_file_beats_a_providers_variables(tmp_path: Path) -> None:
    path = write(
        tmp_path / "streamnursery.toml", '[endpoints.openai]\nurl = "https://gateway.example/v1"\n'
    )
    environ = {"OPENAI_BASE_URL": "https://other.example/v1"}
    loaded = load(tmp_path, environ=environ)
    value, source = origin(loaded, "endpoints.openai.url")
    assert (value, source) == ('"https://gateway.example/v1"', f"file {path}")


def test_layers_replace_single_settings_and_not_whole_tables(tmp_path: Path) -> None:
    write(tmp_path / "streamnursery.toml", "[defaults]\npatience = { idle = 5, connect = 7 }\n")
    environ = {"STREAMNURSERY_DEFAULTS_PATIENCE_IDLE": "off"}
    flags: dict[str, object] = {"defaults": {"patience": {"total": 9}}}
    patience = load(tmp_path, environ=environ, flags=flags).config.patience
    assert (patience.connect, patience.idle, patience.total) == (7.0, None, 9.0)
    assert patience.first_token == 60.0


def in_cwd(root: Path) -> Path:
    return root / "here" / "streamnursery.toml"


def in_project(root: Path) -> Path:
    return root / "here" / "pyproject.toml"


def in_xdg(root: Path) -> Path:
    return root / "xdg" / "streamnursery" / "streamnursery.toml"


def in_home(root: Path) -> Path:
    return root / "home" / ".config" / "streamnursery" / "streamnursery.toml"


PLACES: list[Callable[[Path], Path]] = [in_cwd, in_project, in_xdg]


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_first_file_that_exists_counts_and_files_are_not_merged(
    tmp_path: Path, first: int
) -> None:
    for number, place in enumerate(PLACES[first:], first):
        table = "tool.streamnursery.engine" if place is in_project else "engine"
        also = "max_queued = 5\n" if number > first else ""
        write(place(tmp_path), f"[{table}]\nmax_streams = {number}\n{also}")
    (tmp_path / "here").mkdir(exist_ok=True)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path / "home")}
    loaded = load(tmp_path / "here", environ=environ)
    assert loaded.config.max_streams == first
    assert loaded.config.max_queued == 50_000
    assert loaded.file == PLACES[first](tmp_path)


@pytest.mark.parametrize("xdg", ["", "relative/path"])
def test_an_xdg_home_that_is_not_absolute_counts_as_not_set(tmp_path: Path, xdg: str) -> None:
    write(in_home(tmp_path), FILE)
    environ = {"XDG_CONFIG_HOME": xdg, "HOME": str(tmp_path / "home")}
    assert load(tmp_path, environ=environ).config.max_streams == 30


def test_without_a_home_there_is_no_personal_file(tmp_path: Path) -> None:
    assert load(tmp_path).file is None


def test_a_named_file_is_the_only_one_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "streamnursery.toml", FILE)
    named = write(tmp_path / "elsewhere" / "my.toml", "[engine]\nmax_queued = 7\n")
    by_variable = {"STREAMNURSERY_CONFIG": "elsewhere/my.toml"}
    for loaded in (load(tmp_path, environ=by_variable), load(tmp_path, path=named)):
        assert (loaded.config.max_streams, loaded.config.max_queued) == (1000, 7)
        assert loaded.file == named


def test_a_path_beats_the_variable_that_names_a_file(tmp_path: Path) -> None:
    named = write(tmp_path / "my.toml", FILE)
    environ = {"STREAMNURSERY_CONFIG": "not-there.toml"}
    assert load(tmp_path, environ=environ, path=named).config.max_streams == 30


@pytest.mark.parametrize("named", [True, False])
def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "not-there.toml"
    environ = {} if named else {"STREAMNURSERY_CONFIG": str(path)}
    with pytest.raises(ConfigError, match="cannot be read: No such file") as caught:
        load(tmp_path, environ=environ, path=path if named else None)
    assert str(path) in str(caught.value)
    assert ("STREAMNURSERY_CONFIG" in str(caught.value)) is not named


def test_a_path_that_no_file_could_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no path that a file could have"):
        load(tmp_path, path=Path("a\0b"))


def test_a_named_project_file_must_have_our_table(tmp_path: Path) -> None:
    project = write(tmp_path / "pyproject.toml", "[project]\nname = 'x'\n")
    with pytest.raises(ConfigError, match=r"no \[tool\.streamnursery\] table"):
        load(tmp_path, path=project)


@pytest.mark.parametrize("text", ["[project]\nname = 'x'\n", "= broken =", "[tool]\nother = 1"])
def test_a_project_file_that_does_not_name_us_may_be_as_it_likes(tmp_path: Path, text: str) -> None:
    write(tmp_path / "pyproject.toml", text)
    assert load(tmp_path).file is None


def test_a_project_that_only_depends_on_us_configures_nothing(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\ndependencies = ["streamnursery"]\n')
    assert load(tmp_path).file is None


def test_a_project_table_that_is_no_table_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool]\nstreamnursery = 5\n")
    with pytest.raises(ConfigError, match=r"tool\.streamnursery: must be a table"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[engine]\nmax_streams = = 3\n", "is not TOML: Invalid value .*line 2"),
        (b"[engine]\n\n# caf\xe9\n", "line 3: not UTF-8"),
        (b"x = " + b"[" * 5000, "is nested too deeply|is not TOML"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
        (b"x = " + b"9" * 5000, "is not TOML"),
        (b"\n" + b".".join([b"a"] * 20_000) + b" = 1", "line 2: a key of more than 100 parts"),
        (b"[" + b".".join([b"a"] * 20_000) + b"]", "line 1: a key of more than 100 parts"),
        (b"x = {" + b".".join([b"a"] * 20_000) + b" = 1}", "line 1: a key of more than 100 parts"),
    ],
    ids=["syntax", "latin-1", "nested", "large", "long-number", "key", "table", "inline-key"],
)
def test_a_file_that_is_no_toml_is_one_error_that_says_where(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "streamnursery.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path)
    assert len(caught.value.problems) == 1
    assert str(tmp_path / "streamnursery.toml") in str(caught.value)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "streamnursery.toml").write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    assert load(tmp_path).config.max_streams == 30


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "streamnursery.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_the_settings_come_in_the_order_of_the_reference_one_table_after_the_other(
    tmp_path: Path,
) -> None:
    write(
        tmp_path / "streamnursery.toml",
        '[endpoints.a]\nurl = "http://127.0.0.1:1"\n[endpoints.b]\nurl = "http://127.0.0.1:2"\n'
        '[models."gpt-4.1"]\nmax_streams = 5\nroutes = [{ endpoint = "a" }]\n',
    )
    keys = [setting.key for setting in load(tmp_path).settings]
    tables = [key.split(".")[:2] for key in keys if key.startswith("endpoints")]
    assert tables == sorted(tables)
    assert keys[0] == "engine.max_streams"
    models = [key for key in keys if key.startswith("models")]
    assert models == ['models."gpt-4.1".routes', 'models."gpt-4.1".max_streams']


def test_a_model_lists_only_what_it_sets_itself(tmp_path: Path) -> None:
    flags: dict[str, object] = {"models": {"m": {"retries": {"attempts": 1}}}}
    loaded = load(tmp_path, flags=flags)
    assert [s.key for s in loaded.settings if s.key.startswith("models")] == [
        "models.m.retries.attempts"
    ]


def test_a_models_own_patience_is_laid_over_the_default_one(tmp_path: Path) -> None:
    flags: dict[str, object] = {
        "defaults": {"patience": {"idle": 5}, "retries": {"base": 2}},
        "models": {"m": {"patience": {"total": "off"}, "retries": {"attempts": 1}}},
    }
    model = load(tmp_path, flags=flags).config.models["m"]
    assert model.patience is not None
    assert model.retries is not None
    assert (model.patience.idle, model.patience.total) == (5.0, None)
    assert (model.retries.attempts, model.retries.base) == (1, 2.0)


def test_a_model_without_policies_takes_the_default_ones(tmp_path: Path) -> None:
    model = load(tmp_path, flags={"models": {"m": {}}}).config.models["m"]
    assert (model.patience, model.retries, model.max_streams) == (None, None, None)


def test_the_process_itself_is_asked_when_nothing_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "streamnursery.toml", FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMNURSERY_MAX_QUEUED", "6")
    monkeypatch.delenv("STREAMNURSERY_CONFIG", raising=False)
    config = load_config().config
    assert (config.max_streams, config.max_queued) == (30, 6)
