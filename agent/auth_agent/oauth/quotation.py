"""A provider's texts without the secrets that they quote: careless ones tell what they were sent, or a part of it."""

import base64
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from auth_agent.secret import Secret

# So much of a secret in a row is a quotation; less can be chance, and is of no use.
_LEAST: Final = 8
# Much more than is ever shown of a text: what is cut off needs no look.
_MOST: Final = 500


def without(text: object, secrets: tuple[Secret, ...]) -> str:
    """The text with "…" for what it quotes of those secrets: plain, in an address's form, base64 or hexadecimal.

    What is no text is none.
    """
    if not isinstance(text, str):
        return ""
    text = text[:_MOST]
    quoted = bytearray(len(text))
    for secret in secrets:
        for form in _forms(secret.reveal()):
            _mark(quoted, text, form)
    shown = (
        character if not hidden else "…" if at == 0 or not quoted[at - 1] else ""
        for at, (character, hidden) in enumerate(zip(text, quoted, strict=True))
    )
    return "".join(shown)


def _mark(quoted: bytearray, text: str, form: str) -> None:
    """Mark where the text has enough of that form in a row."""
    size = min(_LEAST, len(form))
    if size == 0:
        return
    parts = {form[at : at + size] for at in range(len(form) - size + 1)}
    for at in range(len(text) - size + 1):
        if text[at : at + size] in parts:
            quoted[at : at + size] = b"\1" * size


def _forms(secret: str) -> Iterator[str]:
    yield from {secret, quote(secret, safe=""), quote_plus(secret)}
    raw = secret.encode("utf-8", "surrogatepass")
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):  # what stands before it moves it within base64's groups of three bytes
        # The characters at both ends hold bits of something else as well.
        encoded = base64.b64encode(b"\0" * before + raw + b"\0" * (-(before + len(raw)) % 3)).decode()
        inner = encoded[4 if before else 0 : len(encoded) - 4 if (before + len(raw)) % 3 else len(encoded)]
        yield from {inner, inner.translate(_URL_SAFE)}


_URL_SAFE: Final = str.maketrans("+/", "-_")
