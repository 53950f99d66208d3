"""T5: base URLs that try to lead somewhere else."""

from ipaddress import ip_address

import pytest

from streamnursery.values.origin import BaseUrl, is_private

ACCEPTED = {
    "https://api.example.com/v1": "https://api.example.com/v1",
    "https://API.Example.com:443/v1/": "https://api.example.com/v1",
    "http://localhost:11434/v1": "http://localhost:11434/v1",
    "http://127.0.0.1:8000": "http://127.0.0.1:8000",
    "http://[::1]:8000/v1": "http://[::1]:8000/v1",
    "https://my_host.internal/openai": "https://my_host.internal/openai",
    "https://example.com./v1": "https://example.com./v1",
    "https://xn--bcher-kva.example/": "https://xn--bcher-kva.example",
    # Accepted as written; what they resolve to is for deny_private to judge.
    "http://169.254.169.254/latest": "http://169.254.169.254/latest",
    # As the standard library writes it, which Python 3.13 has changed (RFC 5952, section 5).
    "http://[::ffff:169.254.169.254]/": f"http://[{ip_address('::ffff:a9fe:a9fe')}]",
    "http://127.0.0.1.nip.io/": "http://127.0.0.1.nip.io",
}

REFUSED = [
    "",
    "api.example.com/v1",
    "//api.example.com/v1",
    "https:/api.example.com",
    "https://",
    "https:///v1",
    "ftp://api.example.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://127.0.0.1:1@evil.example/",
    "https://user:canary@api.example.com/",
    "https://canary@api.example.com/",
    "https://api.example.com\\@evil.example/",
    "https://api.example.com/v1?key=canary",
    "https://api.example.com/v1?",
    "https://api.example.com#@evil.example/",
    "https://api.example.com/%0d%0ahost:evil",
    "https://api.example.com/%00",
    "https://api.example.com/\r\nhost: evil",
    "https://api.example.com/a b",
    "https://api.example.com/%zz",
    "https://api%2eexample.com/",
    "https://api.example.com:0/",
    "https://api.example.com:99999/",
    "https://api.example.com:/",
    "https://api.example.com:8x/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://0/",
    "http://1.2.3.4.5/",
    "http://[::1]evil.example/",
    "http://evil.example[::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[::1",
    "http://[127.0.0.1]/",
    "http://a..b/",
    "http://-a.example/",
    "http://exa\u2100mple.com/",
    "http://\uff11\uff12\uff17.0.0.1/",
    f"http://{'a' * 254}/",
]

PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "2002:7f00:1::",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("url", ACCEPTED)
def test_t5_a_plain_url_is_read_as_it_will_be_used(url: str) -> None:
    assert str(BaseUrl.parse(url)) == ACCEPTED[url]


@pytest.mark.parametrize("url", REFUSED)
def test_t5_a_url_that_is_not_plainly_one_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|port") as caught:
        BaseUrl.parse(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("address", PRIVATE)
def test_t5_an_address_that_is_not_global_unicast_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "1.1.1.1"]
)
def test_t5_a_public_address_is_not_private(address: str) -> None:
    assert not is_private(address)
