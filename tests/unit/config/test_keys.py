"""What has to be removed from a key, and how a file that holds one must lie there."""

import os
import warnings
from pathlib import Path

import pytest
import trio

import streamnursery as sn
from streamnursery.config import config_from_mapping
from streamnursery.values.errors import ConfigError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.secret import RenewableSecret, Secret
from streamnursery.values.settings import Endpoint, EngineConfig

MISTAKES = [
    ('"canary"', "quotes around it"),
    ("'canary'", "quotes around it"),
    ('canary"', "quotes around it"),
    ("canary\r", "carriage return"),
    ("canary\r\n", "carriage return"),
    (" canary", "blanks"),
    ("canary ", "blanks"),
    ("can ary", "blanks"),
    ("\tcanary", "blanks"),
    ("Bearer canary", '"Bearer"'),
    ("bearer  canary", '"Bearer"'),
    ("Authorization: Bearer canary", '"Bearer"'),
    ('"Bearer canary"\r', "quotes"),
]


def conf(**fields: object) -> dict[str, object]:
    return {"endpoints": {"main": {"url": "https://api.example.com/v1", **fields}}}


def read(folder: Path, **fields: object) -> Endpoint:
    return config_from_mapping(conf(**fields), environ={}, cwd=folder).endpoints["main"]


@pytest.mark.parametrize(("key", "what"), MISTAKES)
def test_a_key_says_what_to_remove_from_it_and_is_not_shown(key: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        config_from_mapping(conf(key={"env": "K"}), environ={"K": key})
    assert "remove that" in str(caught.value)
    assert "can" not in str(caught.value).replace("carriage", "")


@pytest.mark.parametrize(("key", "what"), MISTAKES)
def test_the_same_holds_for_files_and_for_keys_given_in_python(
    tmp_path: Path, key: str, what: str
) -> None:
    (tmp_path / "key").write_bytes(key.encode())
    with pytest.raises(ConfigError, match=what):
        read(tmp_path, key={"file": "key"})
    with pytest.raises(ConfigError, match=what):
        read(tmp_path, key=Secret(key))


def test_a_key_in_quotes_in_a_config_value_is_refused_when_the_engine_opens() -> None:
    endpoint = Endpoint("main", BaseUrl.parse("https://api.example.com"), key=Secret('"canary"'))

    async def main() -> None:
        async with sn.open_engine(EngineConfig(endpoints={"main": endpoint})):
            pass

    with pytest.raises(ConfigError, match="'main': the key has quotes around it") as caught:
        trio.run(main)
    assert "canary" not in str(caught.value)


def test_a_header_from_a_variable_may_begin_with_bearer_but_not_stand_in_quotes() -> None:
    headers = {"Authorization": {"env": "H"}}
    good = config_from_mapping(conf(headers=headers), environ={"H": "Bearer canary"})
    assert good.endpoints["main"].headers == {"Authorization": Secret("Bearer canary")}
    with pytest.raises(ConfigError, match="quotes around it"):
        config_from_mapping(conf(headers=headers), environ={"H": '"Bearer canary"'})


def test_a_url_in_quotes_says_so() -> None:
    with pytest.raises(ConfigError, match="the URL has quotes around it"):
        config_from_mapping({"endpoints": {"main": {"url": '"https://api.example.com/v1"'}}})


def test_a_key_file_may_end_with_a_line_break_and_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("canary\n")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "key").symlink_to("real")
    key = read(tmp_path, key={"file": "key"}).key
    assert key == Secret("canary")
    assert isinstance(key, RenewableSecret)
    assert not key.readable_by_others


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o622])
def test_a_key_file_that_everybody_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "key").write_text("canary")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="every user of this machine may write"):
        read(tmp_path, key={"file": "key"})


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, False), (0o400, False)])
def test_a_key_file_that_everybody_may_read_warns_when_the_engine_opens(
    tmp_path: Path, mode: int, warned: bool
) -> None:
    (tmp_path / "key").write_text("canary")
    (tmp_path / "key").chmod(mode)
    config = config_from_mapping(conf(key={"file": "key"}), environ={}, cwd=tmp_path)

    async def main() -> None:
        async with sn.open_engine(config):
            pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trio.run(main)
    told = [str(w.message) for w in caught if "key file" in str(w.message)]
    assert len(told) == warned
    assert all("chmod 600" in text for text in told)


def test_a_pipe_a_folder_and_a_device_are_no_key_files_and_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for place in ("pipe", "folder", "/dev/zero"):
        with pytest.raises(ConfigError, match="is no regular file"):
            read(tmp_path, key={"file": place})


def test_a_renewed_key_is_taken_only_where_it_can_be_sent(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    file.chmod(0o600)
    key = read(tmp_path, key={"file": "key"}).key
    assert isinstance(key, RenewableSecret)
    assert not key.renew()
    for unusable in ("", '"new"', "two\nlines"):
        file.write_text(unusable)
        assert not key.renew()
    file.write_text("new\n")
    assert key.renew()
    assert key.reveal() == "new"
    file.unlink()
    assert not key.renew()
