"""Mappings and sequences whose values are made when they are looked at."""

from streamnursery.values.lazy import LazyMapping, LazySequence


def test_a_value_is_made_once_and_only_if_it_is_looked_at() -> None:
    made: list[int] = []

    def make(kept: int) -> str:
        made.append(kept)
        return str(kept)

    mapping = LazyMapping({"a": 1, "b": 2}, make)
    assert (len(mapping), list(mapping), "b" in mapping, "c" in mapping) == (
        2,
        ["a", "b"],
        True,
        False,
    )
    assert made == []
    assert mapping["b"] == mapping["b"] == "2"
    assert mapping.get("c") is None
    assert made == [2]
    assert mapping == {"a": "1", "b": "2"}
    assert repr(mapping) == "{'a': '1', 'b': '2'}"
    assert made == [2, 1]


def test_a_sequence_equals_a_tuple_of_its_values_and_a_slice_is_one() -> None:
    made: list[int] = []

    def make(kept: int) -> str:
        made.append(kept)
        return str(kept)

    sequence = LazySequence([1, 2, 3], make)
    assert len(sequence) == 3 and made == []
    assert sequence[-1] == sequence[2] == "3"
    assert made == [3]
    assert sequence[:2] == ("1", "2")
    assert sequence == ("1", "2", "3") and sequence != ("1",) and sequence != 5
    first, *others = sequence
    assert (first, others) == ("1", ["2", "3"])
    assert sorted(made) == [1, 2, 3]
    assert hash(sequence) == hash(("1", "2", "3"))
    assert repr(sequence) == "('1', '2', '3')"
    assert LazySequence([], make) == ()
