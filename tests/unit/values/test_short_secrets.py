"""A placeholder for a key is not a secret, and is not cut out of other words."""

from streamnursery.values.secret import scrubbed


def test_a_placeholder_is_left_in_other_words_and_a_key_is_not() -> None:
    text = "The model gpt-x does not exist for sk-12345"
    assert scrubbed(text, ["x"]) == text
    assert scrubbed(text, ["sk-12345", "x"]) == "The model gpt-x does not exist for ***"
