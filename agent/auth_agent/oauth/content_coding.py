"""Bodies that are compressed though nobody asked for that (RFC 9110, section 8.4), without I/O.

Some gateways compress whatever they pass on. If such a response could not be read, the new refresh token in it would be
lost. What a body expands to is bounded, whatever it says.
"""

import zlib
from typing import Final

# Bodies that nobody compressed are what they are; what else there is, such as Brotli, needs a library.
_GZIP: Final = ("gzip", "x-gzip")
_DEFLATE: Final = "deflate"
# `wbits` of zlib, for each format.
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS
_ZLIB_FORMAT: Final = zlib.MAX_WBITS
_RAW_FORMAT: Final = -zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"
# A gateway behind a gateway; and gzip's members, of which servers send one. Each costs the rest of the body once more.
_MAX_CODINGS: Final = 3
_MAX_MEMBERS: Final = 16


def decode(body: bytes, content_encoding: str, limit: int) -> bytes | None:
    """Return the body without its content codings; None if it would be longer than `limit` bytes.

    A body in another coding, or in another than it says, is returned as it is: then it is not valid JSON. One that ends
    too soon is returned as far as it goes.
    """
    codings = [coding.strip().lower() for coding in content_encoding.split(",") if coding.strip()]
    if not codings and body.startswith(_GZIP_MAGIC):  # no text, whatever its encoding, begins like this
        codings = [_GZIP[0]]
    for coding in reversed(codings[-_MAX_CODINGS:]):
        expanded = _expand(body, coding, limit)
        if expanded is None:
            return None
        body = expanded
    return body


def _expand(body: bytes, coding: str, limit: int) -> bytes | None:
    formats = {**dict.fromkeys(_GZIP, (_GZIP_FORMAT,)), _DEFLATE: (_ZLIB_FORMAT, _RAW_FORMAT)}  # some send the raw one
    for wbits in formats.get(coding, ()):
        try:
            return _inflate(body, wbits, limit)
        except zlib.error:
            continue
    return body


def _inflate(body: bytes, wbits: int, limit: int) -> bytes | None:
    """Inflate at most `limit` bytes; None if there are more. Raises a `zlib.error` if it is of another format."""
    expanded = bytearray()
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(wbits)
        expanded += member.decompress(body, limit + 1 - len(expanded))
        if len(expanded) > limit:
            return None
        body = member.unused_data
        if wbits != _GZIP_FORMAT or not body.startswith(_GZIP_MAGIC):
            return bytes(expanded)
    return None
