"""Compressed bodies: what is read, what is left as it is, and that nothing expands beyond its limit."""

import gzip
import itertools
import zlib

import pytest

from auth_agent.oauth.content_coding import decode

BODY = b'{"access_token": "at", "refresh_token": "rt"}'
LIMIT = 1000


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("X-GZip", gzip.compress(BODY)),
        ("", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY, wbits=-zlib.MAX_WBITS)),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY))),
        ("gzip,gzip", gzip.compress(gzip.compress(BODY))),
        ("gzip", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])),
        ("gzip", gzip.compress(BODY)[:-8]),  # a proxy that leaves the trailer out
        ("gzip", gzip.compress(BODY) + b"\0\0"),
        ("gzip", BODY),  # not compressed, whatever it says
        ("br", BODY),
    ],
    ids=itertools.count(),
)
def test_a_body_is_read_in_each_coding(coding: str, body: bytes) -> None:
    assert decode(body, coding, LIMIT) == BODY


def test_a_body_in_another_coding_is_left_as_it_is() -> None:
    assert decode(b"\x0b\x02\x80", "br", LIMIT) == b"\x0b\x02\x80"


@pytest.mark.parametrize("length", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip, gzip"])
def test_a_body_expands_to_its_limit_and_not_beyond(coding: str, length: int) -> None:
    body = bytes(length)
    for one in coding.split(", "):
        body = gzip.compress(body) if one == "gzip" else zlib.compress(body)
    assert decode(body, coding, LIMIT) == (bytes(length) if length == LIMIT else None)


def test_a_body_of_very_many_members_is_refused() -> None:
    assert decode(gzip.compress(b"") * 20_000, "gzip", LIMIT) is None
