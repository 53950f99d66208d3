"""What NO_PROXY means: names, addresses, networks, each with or without a port."""

import pytest

from streamnursery.transport.no_proxy import bypasses
from streamnursery.transport.proxy import proxy_for
from streamnursery.values.http import Peer
from streamnursery.values.origin import BaseUrl

LISTED = [
    ("*", "anything.example", 443),
    ("example.com", "example.com", 443),
    ("EXAMPLE.com", "api.example.com", 8080),
    (".example.com", "example.com", 443),
    ("*.example.com", "api.example.com", 443),
    ("api.example.com.", "api.example.com", 443),
    ("example.com", "api.example.com.", 443),
    ("a.example, example.com", "example.com", 443),
    ("a.example example.com", "example.com", 443),
    ("127.0.0.0/8", "127.3.2.1", 80),
    ("localhost,::1/128,10.0.0.0/8", "10.200.0.1", 80),
    ("10.1.2.3/8", "10.200.0.1", 80),
    ("192.0.2.7", "192.0.2.7", 80),
    ("::1/128", "::1", 80),
    ("2001:db8::/32", "2001:db8:7::1", 443),
    ("2001:DB8::1", "2001:db8::1", 443),
    ("[2001:db8::1]", "2001:db8::1", 443),
    ("example.com:8443", "example.com", 8443),
    ("*:8443", "example.com", 8443),
    ("192.0.2.7:80", "192.0.2.7", 80),
    ("10.0.0.0/8:80", "10.200.0.1", 80),
    ("[2001:db8::1]:443", "2001:db8::1", 443),
]

NOT_LISTED = [
    ("", "example.com", 443),
    (",, ,", "example.com", 443),
    (".", "example.com", 443),
    ("example.com", "notexample.com", 443),
    ("api.example.com", "example.com", 443),
    ("10.0.0.0/8", "11.0.0.1", 80),
    ("10.0.0.0/8", "ten.example", 80),
    ("10.0.0.0/99", "10.0.0.1", 80),
    ("2001:db8::/32", "10.0.0.1", 80),
    ("0.1", "10.0.0.1", 80),
    ("example.com:8443", "example.com", 443),
    ("192.0.2.7:80", "192.0.2.7", 8080),
    ("[2001:db8::1]:443", "2001:db8::1", 8443),
    ("2001:db8::1", "2001:db8::2", 443),
]


@pytest.mark.parametrize(("listed", "host", "port"), LISTED)
def test_a_listed_server_goes_around_the_proxy(listed: str, host: str, port: int) -> None:
    assert bypasses(listed, host, port)


@pytest.mark.parametrize(("listed", "host", "port"), NOT_LISTED)
def test_any_other_server_goes_through_it(listed: str, host: str, port: int) -> None:
    assert not bypasses(listed, host, port)


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_a_network_in_the_environment_is_obeyed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv(name, "localhost,10.0.0.0/8")
    inside, outside = (
        Peer(BaseUrl.parse(f"http://{host}/v1").origin) for host in ("10.1.2.3", "11.1.2.3")
    )
    assert proxy_for(inside, trust_env=True) is None
    proxy = proxy_for(outside, trust_env=True)
    assert proxy is not None
    assert proxy.host == "proxy.example"
