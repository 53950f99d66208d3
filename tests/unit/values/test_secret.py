"""A credential shows nowhere but on the wire (T2)."""

import copy
import json
import pickle
from collections.abc import Callable
from traceback import TracebackException
from typing import Any

import attrs
import pytest

from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.origin import BaseUrl
from streamnursery.values.secret import Secret, scrubbed, secret_texts
from streamnursery.values.settings import Endpoint

CANARY = "sk-canary-123456"
SECRET = Secret(CANARY)


def endpoint() -> Endpoint:
    headers: dict[str, str | Secret] = {"x-api-key": SECRET, "cookie": CANARY}
    return Endpoint(
        name="main",
        url=BaseUrl.parse("https://a.example"),
        key=SECRET,
        headers=headers,
        query={"key": CANARY},
        proxy=f"http://me:{CANARY}@proxy:1",
    )


def request() -> HttpRequest:
    headers = (("authorization", SECRET), ("cookie", CANARY))
    return HttpRequest(endpoint().peer, "POST", f"/v1?key={CANARY}", headers, CANARY.encode())


HOLDERS: list[Callable[[], object]] = [lambda: SECRET, endpoint, request, lambda: endpoint().peer]
VIEWS: list[Callable[[object], object]] = [
    repr,
    str,
    lambda value: f"{value}",
    lambda value: f"{value!r:>40}",
    lambda value: repr([value]),
    lambda value: repr({"k": (value,)}),
    lambda value: repr(copy.copy(value)),
    lambda value: repr(copy.deepcopy(value)),
    dir,
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_t2_no_view_of_what_holds_a_key_shows_it(
    holder: Callable[[], object], view: Callable[[object], object]
) -> None:
    assert CANARY not in str(view(holder()))


@pytest.mark.parametrize("holder", HOLDERS)
def test_t2_nothing_that_holds_a_key_has_an_open_dict(holder: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        vars(holder())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("holder", [lambda: SECRET, endpoint, request])
def test_t2_nothing_that_holds_a_secret_is_pickled(
    holder: Callable[[], object], protocol: int
) -> None:
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        pickle.dumps(holder(), protocol)
    trace = TracebackException.from_exception(caught.value, capture_locals=True)
    assert CANARY not in str([frame.locals for frame in trace.stack[1:]])


def test_t2_a_secret_is_no_json() -> None:
    with pytest.raises(TypeError):
        json.dumps(SECRET)


def test_t2_as_a_dict_an_endpoint_still_holds_a_secret() -> None:
    assert attrs.asdict(endpoint())["key"] is SECRET


def test_t2_no_attribute_of_a_secret_is_its_text() -> None:
    values = [getattr(SECRET, name) for name in dir(SECRET) if name != "reveal"]
    assert CANARY not in [value for value in values if isinstance(value, str)]


def test_t2_a_frame_that_holds_a_secret_does_not_show_it() -> None:
    def fail(key: Secret) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        fail(Secret(CANARY))
    trace = TracebackException.from_exception(caught.value, capture_locals=True)
    assert trace.stack[-1].locals == {"key": "Secret('***')"}
    assert CANARY not in "".join(trace.format())


def test_only_reveal_shows_it() -> None:
    assert SECRET.reveal() == CANARY


def test_secrets_are_equal_by_text_and_to_nothing_else() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret("aa")
    assert Secret("é") == Secret("é")
    assert Secret("\udcff") == Secret("\udcff")
    assert SECRET != CANARY
    assert hash(Secret("a")) == hash(Secret("a"))


def test_a_copy_is_the_same_secret() -> None:
    assert copy.copy(SECRET) is SECRET
    assert copy.deepcopy([SECRET])[0] is SECRET


def test_t2_what_cannot_be_a_secret_is_in_no_frame_of_the_error() -> None:
    kind: Any = Secret
    with pytest.raises(ValueError, match="needs a non-empty string") as caught:
        kind(CANARY.encode())
    trace = TracebackException.from_exception(caught.value, capture_locals=True)
    assert CANARY not in str(trace.stack[-1].locals)


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_a_secret_is_never_blank(blank: str) -> None:
    with pytest.raises(ValueError, match="leave the key out instead"):
        Secret(blank)


def test_a_secret_takes_no_further_attributes() -> None:
    for name in ("note", "value"):
        with pytest.raises(AttributeError):
            setattr(SECRET, name, "x")


def test_peers_with_different_proxies_are_different_and_show_neither() -> None:
    origin = BaseUrl.parse("https://a.example").origin
    one, two = Peer(origin, proxy="http://p:1"), Peer(origin, proxy="http://p:2")
    assert one != two
    assert repr(one) == repr(two)


def test_secrets_are_taken_out_of_a_text_also_where_it_was_cut() -> None:
    held = secret_texts((("authorization", Secret("Bearer tok-123456789")), ("x", "plain"),
                         ("y", Secret("other one"))))  # fmt: skip
    assert held == ["tok-123456789", "other one"]
    assert scrubbed("a tok-123456789 b, other one.", held) == "a *** b, ***."
    assert scrubbed("it is tok-1234", held) == "it is ***"
    assert scrubbed("it is tok-", held) == "it is tok-"
    assert scrubbed("", held) == ""
