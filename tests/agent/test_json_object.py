import math

import pytest

from auth_agent.json_object import JsonObjectError, parse_object, read_object


def test_an_object_is_given_as_it_came() -> None:
    assert parse_object(b'{"a": [1, null], "b": {"c": "\xc3\xa9"}}') == {"a": [1, None], "b": {"c": "é"}}


@pytest.mark.parametrize("text", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told(text: bytes) -> None:
    for parse in (parse_object, read_object):
        with pytest.raises(JsonObjectError, match=r"^is no JSON$"):
            parse(text)


@pytest.mark.parametrize("text", [b"null", b"[]", b"7", b'"a"'])
def test_json_that_is_no_object_is_told(text: bytes) -> None:
    for parse in (parse_object, read_object):
        with pytest.raises(JsonObjectError, match=r"^is no JSON object$"):
            parse(text)


def test_a_text_in_another_encoding_hides_no_other() -> None:
    body = b'{"error": "invalid_grant", "error_description": "ung\xfcltig", "\xff": "\xed\xa0\xbd"}'
    assert read_object(body) == {"error": "invalid_grant", "error_description": "ung\ufffdltig", "\ufffd": "\ufffd" * 3}
    with pytest.raises(JsonObjectError):  # what is ours is exact
        parse_object(body)


def test_a_mark_of_the_encoding_is_none_of_the_text() -> None:
    assert read_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("digits", "number"), [(b"7", 7), (b"-7", -7), (b"9" * 300, 10**300 - 1), (b"9" * 400_000, math.inf)]
)
def test_a_number_of_any_length_is_one(digits: bytes, number: float) -> None:
    assert read_object(b'{"a": %s, "b": "rt"}' % digits) == {"a": number, "b": "rt"}


def test_what_is_ours_has_no_number_of_thousands_of_digits() -> None:
    with pytest.raises(JsonObjectError):
        parse_object(b'{"a": %s}' % (b"9" * 5000))
