"""`config show`, `config check` and `config init`."""

import json
import tomllib

from streamnursery.cli.exits import Exit
from streamnursery.cli.findings import local_findings
from streamnursery.config import TEMPLATE, load_config
from tests.support.cli import Command


def test_show_prints_every_setting_and_its_origin(command: Command) -> None:
    path = command.write("streamnursery.toml", "[engine]\nmax_streams = 7\n")
    plain = command("config", "show")
    assert "engine.max_streams = 7\n" in plain.out
    assert "engine.max_queued = 50000\n" in plain.out
    assert str(path) in plain.err
    origin = command("config", "show", "--origin").out
    assert f"# file {path}" in origin
    assert "# default" in origin


def test_show_is_toml_that_can_be_read_again(command: Command) -> None:
    document = tomllib.loads(command("config", "show").out)
    assert document["defaults"]["retries"]["attempts"] == 5


def test_no_key_is_shown(command: Command) -> None:
    command.write("key", "sk-very-secret")
    text = '[endpoints.a]\nurl = "http://127.0.0.1:9/v1"\nkey = { file = "key" }\n'
    command.write("streamnursery.toml", text)
    for words in (("show",), ("show", "--origin"), ("show", "--json"), ("check",)):
        ran = command("config", *words)
        assert ran.code == 0
        assert "sk-very-secret" not in ran.out + ran.err
    assert "endpoints.a.key = ***" in command("config", "show").out


def test_show_as_json_names_file_and_settings(command: Command) -> None:
    shown = json.loads(command("config", "show", "--json").out)
    assert shown["file"] is None
    assert {"key": "engine.max_streams", "value": "1000", "origin": "default"} in shown["settings"]


def test_check_of_nothing_and_of_a_good_file_is_ok(command: Command) -> None:
    assert command("config", "check").out.startswith("ok: no configuration file")
    command.write("streamnursery.toml", '[models."gpt-4.1"]\nmax_streams = 3\n')
    ran = command("config", "check")
    assert ran.code == 0
    assert ran.out.endswith("0 endpoints, 1 model\n")


def test_check_tells_every_mistake_and_the_code_says_so(command: Command) -> None:
    command.write("bad.toml", "[engine]\nmax_steams = 3\nmax_queued = -1\n")
    ran = command("config", "check", "--config", "bad.toml")
    assert ran.code == Exit.USAGE
    assert "2 mistakes" in ran.err
    told = command("config", "check", "--config", "bad.toml", "--json")
    assert told.code == Exit.USAGE
    assert len(json.loads(told.out)["problems"]) == 2


def test_init_writes_a_file_that_changes_nothing(command: Command) -> None:
    before = command("config", "show", "--json").out
    ran = command("config", "init")
    assert ran.out == "streamnursery.toml\n"
    assert (command.folder / "streamnursery.toml").read_text() == TEMPLATE
    after = json.loads(command("config", "show", "--json").out)
    assert after["settings"] == json.loads(before)["settings"]


def test_init_leaves_a_file_that_is_there_as_it_is(command: Command) -> None:
    path = command.write("streamnursery.toml", "# mine\n")
    ran = command("config", "init")
    assert ran.code == Exit.USAGE
    assert "exists already" in ran.err
    assert path.read_text() == "# mine\n"


def test_init_to_a_dash_prints(command: Command) -> None:
    assert command("config", "init", "-").out == TEMPLATE
    assert list(command.folder.iterdir()) == []


def test_init_into_a_folder_that_is_not_there(command: Command) -> None:
    ran = command("config", "init", "no/such/folder.toml")
    assert ran.code == Exit.USAGE
    assert "No such file or directory" in ran.err


def test_check_and_doctor_tell_which_endpoints_and_models_lack_a_key(
    command: Command,
) -> None:
    path = command.write(
        "keys.toml",
        """
[endpoints.a]
url = "http://a.example/v1"
key = { env = "ABSENT_FOR_SURE" }
[endpoints.b]
url = "http://b.example/v1"
[models.both]
routes = [{ endpoint = "a" }, { endpoint = "b" }]
[models.alone]
routes = [{ endpoint = "a" }]
""",
    )
    ran = command("config", "check", "--config", str(path))
    assert ran.code == 0
    assert "ABSENT_FOR_SURE is not set; it is passed over for both, alone" in ran.err
    assert "models.alone cannot be asked yet" in ran.err
    assert "models.both" not in ran.err
    findings = local_findings(load_config(path, environ={}))
    keys = [(f.level, f.what) for f in findings if f.check == "keys"]
    why = "a: the environment variable ABSENT_FOR_SURE is not set; passed over for both, alone"
    assert ("note", why) in keys
    assert ("problem", "the model alone cannot be asked: no route of it has a key") in keys
