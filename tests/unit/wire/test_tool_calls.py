"""Pieces of tool calls find their call with or without an index."""

import pytest

from streamnursery.values.events import ToolCallDelta
from streamnursery.wire.openai_chat.chunk import Function, ToolPiece
from streamnursery.wire.openai_chat.tool_calls import ToolCalls
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS


def piece(
    index: int | None = None,
    key: str | None = None,
    name: str | None = None,
    text: str | None = None,
) -> ToolPiece:
    return ToolPiece(index, key, Function(name, text))


def test_id_and_name_come_once_with_the_first_piece_that_has_them() -> None:
    calls = ToolCalls()
    assert calls.piece(piece(0, "a"), 0, 0) == ToolCallDelta(0, "a")
    assert calls.piece(piece(0, "a", "get"), 0, 0) == ToolCallDelta(0, None, "get")
    assert calls.piece(piece(0, "b", None, "{}"), 0, 0) == ToolCallDelta(0, None, None, "{}")


def test_a_piece_that_says_nothing_new_is_no_event() -> None:
    calls = ToolCalls()
    assert calls.piece(ToolPiece(0), 0, 0) is None
    calls.piece(piece(0, "a", "get"), 0, 0)
    assert calls.piece(piece(0, "a", "get", ""), 0, 0) is None


def test_the_index_overrules_the_id() -> None:
    calls = ToolCalls()
    calls.piece(piece(0, "a", "get"), 0, 0)
    assert calls.piece(piece(3, "a", "put"), 0, 1) == ToolCallDelta(3, "a", "put", "", 1)


def test_pieces_without_index_find_their_call_by_id() -> None:
    calls = ToolCalls()
    calls.piece(piece(2, "a", "get"), 0, 0)
    assert calls.piece(piece(None, "b", "put"), 0, 0) == ToolCallDelta(3, "b", "put")
    assert calls.piece(piece(None, "a", text="{}"), 0, 0) == ToolCallDelta(2, arguments="{}")


def test_pieces_without_index_and_id_continue_the_call_at_their_place() -> None:
    calls = ToolCalls()
    calls.piece(piece(0, "a", "get"), 0, 0)
    assert calls.piece(piece(text="1"), 0, 0) == ToolCallDelta(0, arguments="1")
    assert calls.piece(piece(name="get", text="2"), 0, 0) == ToolCallDelta(0, arguments="2")
    assert calls.piece(piece(name="put"), 0, 0) == ToolCallDelta(1, None, "put")
    assert calls.piece(piece(text="3"), 0, 0) == ToolCallDelta(1, arguments="3")
    assert calls.piece(piece(text="4"), 1, 0) == ToolCallDelta(2, arguments="4")


def test_the_superseded_function_call_is_one_call_without_an_id() -> None:
    calls = ToolCalls()
    calls.piece(piece(0, "a", "get"), 0, 0)
    assert calls.legacy(Function("put", "{"), 0) == ToolCallDelta(1, None, "put", "{")
    assert calls.legacy(Function(None, "}"), 0) == ToolCallDelta(1, arguments="}")
    assert calls.legacy(Function("put", ""), 0) is None


def test_the_number_of_calls_is_bounded() -> None:
    calls = ToolCalls()
    calls.piece(piece(MAX_TOOL_CALLS - 1, "a"), 0, 0)
    with pytest.raises(OverflowError):
        calls.piece(piece(None, "b"), 0, 0)
    with pytest.raises(OverflowError):
        calls.piece(piece(0), MAX_TOOL_CALLS, 0)
