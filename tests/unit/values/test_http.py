"""Headers that a caller may send, and how a response head is read."""

import pytest

from streamnursery.values.http import RESERVED, HttpHead, check_header
from streamnursery.values.secret import Secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Team", "research"),
        ("x!#$%&'*+-.^_`|~9", ""),
        ("authorization", Secret("Bearer canary")),
        ("x", "a\tb \x80\xff"),
    ],
)
def test_a_proper_header_is_let_through(name: str, value: str | Secret) -> None:
    assert check_header(name, value) is None


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é", "a\0", ":path"])
def test_a_name_is_a_token(name: str) -> None:
    problem = check_header(name, "v")
    assert problem is not None
    assert "characters that a header name may not have" in problem
    assert problem.isprintable()


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("spelt", [str.lower, str.upper, str.title])
def test_what_frames_the_message_is_the_transports(name: str, spelt: object) -> None:
    assert callable(spelt)
    assert "written by the transport" in (check_header(spelt(name), "v") or "")


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "a\0b", "\x7f", " a", "a ", "\ta", "日本"])
def test_t2_a_wrong_value_is_refused_and_not_repeated(value: str) -> None:
    for given in (value, Secret(f"canary{value}canary{value}")):
        problem = check_header("x-name", given)
        if problem is not None:
            assert problem.startswith("the value of header 'x-name' has control characters")
            assert "canary" not in problem
    assert check_header("x-name", value) is not None


def test_a_head_gives_the_first_value_of_a_name() -> None:
    head = HttpHead(200, (("set-cookie", "a"), ("x", ""), ("set-cookie", "b")))
    assert (head.get("set-cookie"), head.get("x"), head.get("y")) == ("a", "", None)


def test_t2_a_head_does_not_show_its_headers() -> None:
    assert "canary" not in repr(HttpHead(200, (("set-cookie", "canary"),)))
