import math

import pytest

from auth_agent.json_object import JsonObjectError, parse_object, read_object


def test_an_object_is_parsed() -> None:
    assert parse_object(b'{"a": [1, null], "b": {"c": "\xc3\xa9"}}') == {"a": [1, None], "b": {"c": "é"}}


@pytest.mark.parametrize("document", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000])
def test_an_invalid_document_is_refused(document: bytes) -> None:
    for parse in (parse_object, read_object):
        with pytest.raises(JsonObjectError):
            parse(document)


@pytest.mark.parametrize("document", [b"null", b"[]", b"7", b'"a"'])
def test_json_that_is_not_an_object_is_refused(document: bytes) -> None:
    for parse in (parse_object, read_object):
        with pytest.raises(JsonObjectError):
            parse(document)


def test_a_string_in_another_encoding_leaves_the_others_readable() -> None:
    body = b'{"error": "invalid_grant", "error_description": "ung\xfcltig", "\xff": "\xed\xa0\xbd"}'
    assert read_object(body) == {"error": "invalid_grant", "error_description": "ung\ufffdltig", "\ufffd": "\ufffd" * 3}
    with pytest.raises(JsonObjectError):  # our own documents are UTF-8
        parse_object(body)


def test_a_byte_order_mark_is_ignored() -> None:
    assert read_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("digits", "number"), [(b"7", 7), (b"-7", -7), (b"9" * 300, 10**300 - 1), (b"9" * 400_000, math.inf)]
)
def test_a_number_of_any_length_is_parsed(digits: bytes, number: float) -> None:
    assert read_object(b'{"a": %s, "b": "rt"}' % digits) == {"a": number, "b": "rt"}


@pytest.mark.parametrize(
    "body",
    [b'{"a": [%s]}' % b",".join([b"7"] * 9_000), b'{"a": "%s"}' % (b"x" * 500_000), b'{"a": "%s"}' % (b"," * 9_000)],
)
def test_a_large_body_of_few_values_is_read(body: bytes) -> None:
    assert read_object(body).keys() == {"a"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [%s]}' % b",".join([b"7"] * 10_001),
        b"{%s}" % b",".join(b'"%d": 7' % number for number in range(10_001)),
        b'{"a": [%s]}' % b",".join([b"[]"] * 5_001),
        b'{"a": ' + b"[" * 10_001,
    ],
    ids=["array", "object", "arrays", "deep"],
)
def test_a_body_of_many_values_is_refused_unread(body: bytes) -> None:
    with pytest.raises(JsonObjectError, match="10,000"):
        read_object(body)


def test_our_own_documents_have_no_number_of_thousands_of_digits() -> None:
    with pytest.raises(JsonObjectError):
        parse_object(b'{"a": %s}' % (b"9" * 5000))
