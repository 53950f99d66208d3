"""Fields of a Responses event, read where they are used, whatever type they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamnursery.wire.json_text import text_of

if TYPE_CHECKING:
    from streamnursery.wire.openai_responses.event import Event


def key_of(event: Event) -> object:
    """Which output an event belongs to."""
    index = plain(event.output_index)
    return index if index is not None else text_of(event.item_id) or None


def plain(value: object) -> object:
    """A number or text, which alone can be looked up."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return value
