"""Removes secrets from a provider's messages: some providers quote the request, or a part of it."""

import base64
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from auth_agent.secret import Secret

# So many characters of a secret in a row are a quotation; fewer can be chance, and are useless to a thief.
_MIN_QUOTED: Final = 8
# Characters that are searched; much more than is ever shown of a message.
_MAX_LENGTH: Final = 500
# Characters of a secret: the search takes up to 5 ms for so many. Beside a longer one, no text is shown.
_MAX_SECRET: Final = 4096


def redact(text: object, secrets: tuple[Secret, ...]) -> str:
    """Return the text with "…" in place of each secret that it quotes: plain, URL-encoded, base64 or hexadecimal.

    Return "" if `text` is not a string, and "…" if a secret is too long to search for.
    """
    if not isinstance(text, str) or not text:
        return ""
    if any(len(secret.reveal()) > _MAX_SECRET for secret in secrets):
        return "…"
    text = text[:_MAX_LENGTH]
    quoted = bytearray(len(text))
    for secret in secrets:
        for form in _forms(secret.reveal()):
            _mark(quoted, text, form)
    characters = (
        character if not hidden else "…" if at == 0 or not quoted[at - 1] else ""
        for at, (character, hidden) in enumerate(zip(text, quoted, strict=True))
    )
    return "".join(characters)


def _mark(quoted: bytearray, text: str, form: str) -> None:
    """Mark each run of the text that is a long enough part of that form."""
    size = min(_MIN_QUOTED, len(form))
    if size == 0:
        return
    # Most texts quote nothing. A run of eight characters has one of the text's blocks of four in it.
    if size == _MIN_QUOTED and not any(text[at : at + 4] in form for at in range(0, len(text) - 3, 4)):
        return
    runs = {text[at : at + size] for at in range(len(text) - size + 1)}
    found = runs.intersection(form[at : at + size] for at in range(len(form) - size + 1))
    for at in range(len(text) - size + 1):
        if text[at : at + size] in found:
            quoted[at : at + size] = b"\1" * size


def _forms(secret: str) -> Iterator[str]:
    yield from {secret, quote(secret, safe=""), quote_plus(secret)}
    raw = secret.encode("utf-8", "surrogatepass")
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):  # base64 works on groups of three bytes: what precedes the secret shifts it
        # The characters at both ends have bits of the neighboring bytes.
        encoded = base64.b64encode(b"\0" * before + raw + b"\0" * (-(before + len(raw)) % 3)).decode()
        inner = encoded[4 if before else 0 : len(encoded) - 4 if (before + len(raw)) % 3 else len(encoded)]
        yield from {inner, inner.translate(_URL_SAFE)}


_URL_SAFE: Final = str.maketrans("+/", "-_")
