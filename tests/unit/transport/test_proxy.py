"""Which proxy, if any; and what is never said about it."""

import base64

import pytest

from streamnursery.transport.proxy import Proxy, proxy_for
from streamnursery.values.errors import ConfigError
from streamnursery.values.http import Peer
from streamnursery.values.origin import Origin

HTTPS = Peer(Origin("https", "api.test", 443))
HTTP = Peer(Origin("http", "api.test", 80))

VARIABLES = [
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")
    for name in (upper, upper.lower())
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_proxy_is_host_port_and_credential() -> None:
    proxy = Proxy.parse("http://us%40er:p%3Ass@proxy.test:3128/")
    assert (proxy.host, proxy.port) == ("proxy.test", 3128)
    assert proxy.authorization is not None
    kind, _, text = proxy.authorization.reveal().partition(" ")
    assert kind == "Basic" and base64.b64decode(text) == b"us@er:p:ss"


def test_a_proxy_without_port_or_user_has_the_default_and_none() -> None:
    assert Proxy.parse("http://proxy.test") == Proxy("proxy.test", 80)
    assert Proxy.parse("http://[::1]:8080") == Proxy("::1", 8080)


@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h", "SOCKS5"])
def test_socks_is_a_typed_error_that_says_so(scheme: str) -> None:
    with pytest.raises(ConfigError, match="SOCKS"):
        Proxy.parse(f"{scheme}://canary:canary@proxy.test:1080")


@pytest.mark.parametrize(
    "url",
    [
        "https://canary:canary@proxy.test",
        "proxy.test:3128",
        "http://",
        "http://canary:canary@",
        "http://canary:canary@proxy.test:0",
        "http://canary:canary@proxy.test:99999",
        "http://canary:canary@proxy.test:x",
        "http://canary:canary@proxy.test/path",
        "http://canary:canary@pro xy.test",
        "http://canary:canary@[::1",
    ],
)
def test_what_is_no_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Proxy.parse(url)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_password_does_not_show() -> None:
    assert "cGFzcw" not in repr(Proxy.parse("http://user:pass@proxy.test"))
    assert "Basic" not in repr(Proxy.parse("http://user:pass@proxy.test"))


def test_t8_the_environment_names_no_proxy_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES[:6]:
        monkeypatch.setenv(name, "http://env.test:1")
    assert proxy_for(HTTPS, trust_env=False) is None
    assert proxy_for(HTTP, trust_env=False) is None


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("HTTPS_PROXY", HTTPS),
        ("https_proxy", HTTPS),
        ("HTTP_PROXY", HTTP),
        ("http_proxy", HTTP),
        ("ALL_PROXY", HTTP),
        ("all_proxy", HTTPS),
    ],
)
def test_t8_with_trust_env_the_environment_names_the_proxy(
    name: str, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "env.test:3128")
    assert proxy_for(peer, trust_env=True) == Proxy("env.test", 3128)


def test_a_proxy_for_one_scheme_is_none_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://env.test:3128")
    assert proxy_for(HTTPS, trust_env=True) is None


@pytest.mark.parametrize("value", ["api.test", ".test", "*", "x.test, api.test:443"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_goes_around_it(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://env.test:3128")
    monkeypatch.setenv(name, value)
    assert proxy_for(HTTPS, trust_env=True) is None


def test_the_endpoints_own_proxy_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://env.test:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    peer = Peer(HTTPS.origin, proxy="http://own.test:8080")
    assert proxy_for(peer, trust_env=True) == Proxy("own.test", 8080)


def test_a_socks_proxy_in_the_environment_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://env.test:1080")
    with pytest.raises(ConfigError, match="SOCKS"):
        proxy_for(HTTPS, trust_env=True)
