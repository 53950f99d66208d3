"""Never run, only type-checked: what users misspell or mistype is refused, and by each call.

Every `type: ignore` stands for an error that must be there: unused ones are errors themselves.
"""

from typing import TypedDict

import attrs
import msgspec

import streamnursery as sn
from streamnursery import aio, sync


@attrs.frozen
class City:
    """For `response_format`."""

    name: str
    people: int


class Country(msgspec.Struct):
    """The same."""

    name: str


class Street(TypedDict):
    """The same."""

    name: str


async def in_trio(eng: sn.Engine) -> None:
    eng.stream("m", "Hi", max_token=3)  # type: ignore[call-arg]
    eng.stream("m", "Hi", temperature="hot")  # type: ignore[arg-type]
    eng.stream("m", prompt=42)  # type: ignore[arg-type]
    await eng.complete("m", "Hi", max_token=3)  # type: ignore[call-overload]
    await eng.complete("m", "Hi", temperature="hot")  # type: ignore[call-overload]
    await eng.complete("m", prompt=42)  # type: ignore[call-overload]
    await eng.complete("m", "Hi", when_behind="later")  # type: ignore[call-overload]
    eng.plan("m", "Hi", max_token=3)  # type: ignore[call-arg]
    eng.explain("m", "Hi", temperature="hot")  # type: ignore[arg-type]
    eng.estimate("m", prompt=42)  # type: ignore[arg-type]
    await eng.run("m", in_trio, eng, priority="now")  # type: ignore[arg-type]


async def in_aio(eng: aio.Engine, session: aio.Session) -> None:
    eng.stream("m", "Hi", max_token=3)  # type: ignore[call-arg]
    await eng.complete("m", "Hi", temperature="hot")  # type: ignore[call-overload]
    await eng.plan("m", prompt=42)  # type: ignore[arg-type]
    session.stream("m", "Hi", max_token=3)  # type: ignore[call-arg]


def in_threads(eng: sync.Engine) -> None:
    eng.stream("m", "Hi", max_token=3)  # type: ignore[call-arg]
    eng.complete("m", "Hi", temperature="hot")  # type: ignore[call-overload]
    sync.complete("m", prompt=42)  # type: ignore[call-overload]
    sync.stream("m", "Hi", max_token=3)  # type: ignore[call-arg]


async def answers_are_of_the_class_that_was_asked_for(eng: sn.Engine, other: sync.Engine) -> None:
    city = (await eng.complete("m", "Hi", response_format=City, max_tokens=9)).parsed
    print(city.people + 1, city.nam)  # type: ignore[attr-defined]
    country: Country = other.complete("m", "Hi", response_format=Country).parsed
    street: Street = sync.complete("m", "Hi", response_format=Street).parsed
    wrong: int = sync.complete("m", "Hi", response_format=Street).parsed  # type: ignore[assignment]
    anything = (await eng.complete("m", "Hi", response_format={"type": "json_object"})).parsed
    print(country.name, street["name"], wrong, anything["whatever"])
