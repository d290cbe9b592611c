"""Searches data for secrets: complete, encoded, and in parts."""

import base64
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

# Any part of a secret that is longer than twice that is found.
_WINDOW = 16
_STEP = 8


class Search:
    """A search for secrets, given by kind, in the usual encodings.

    Parts of a secret that are `public` are ignored: every ID token contains its issuer.
    """

    def __init__(self, secrets: Mapping[str, Iterable[str]], public: Iterable[str] = ()) -> None:
        self._windows: dict[bytes, str] = {}
        self._whole: dict[bytes, str] = {}
        for kind, values in secrets.items():
            for value in values:
                for disguise, form in _forms(value):
                    self._add(form, kind if disguise == "itself" else f"{kind} as {disguise}")
        for text in public:
            for _, form in _forms(text):
                for start in range(len(form) - _WINDOW + 1):
                    self._windows.pop(form[start : start + _WINDOW], None)

    def _add(self, form: bytes, kind: str) -> None:
        if len(form) < _WINDOW + _STEP:
            self._whole.setdefault(form, kind)
        for start in range(0, len(form) - _WINDOW + 1, _STEP):
            self._windows.setdefault(form[start : start + _WINDOW], kind)

    def find(self, haystack: bytes) -> set[str]:
        """Return the kinds of secrets in the data, and their encodings."""
        kinds = {kind for form, kind in self._whole.items() if form in haystack}
        for start in range(len(haystack) - _WINDOW + 1):
            kind = self._windows.get(haystack[start : start + _WINDOW])
            if kind is not None:
                kinds.add(kind)
        return kinds


def _forms(value: str) -> Iterable[tuple[str, bytes]]:
    raw = value.encode()
    yield "itself", raw
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    for form in {quote(value, safe=""), quote_plus(value)} - {value}:
        yield "part of a URL", form.encode()
    for shift in range(3):  # preceding bytes shift it within the groups of three
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw).rstrip(b"=")
            yield "base64", encoded[4 if shift else 0 : len(encoded) - 1]
