import pytest

from auth_agent.json_object import JsonObjectError, parse_object


def test_an_object_is_given_as_it_came() -> None:
    assert parse_object(b'{"a": [1, null], "b": {"c": "\xc3\xa9"}}') == {"a": [1, None], "b": {"c": "é"}}


@pytest.mark.parametrize("text", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told(text: bytes) -> None:
    with pytest.raises(JsonObjectError, match=r"^is no JSON$"):
        parse_object(text)


@pytest.mark.parametrize("text", [b"null", b"[]", b"7", b'"a"'])
def test_json_that_is_no_object_is_told(text: bytes) -> None:
    with pytest.raises(JsonObjectError, match=r"^is no JSON object$"):
        parse_object(text)
