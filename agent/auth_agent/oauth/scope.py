"""Scopes, as lists of words separated by spaces (RFC 6749, section 3.3), and by what other names providers tell them.

A scope is case-sensitive and any text: other spellings count only where a provider tells what it granted, never for
what a program asked for.
"""

from collections.abc import Iterable
from typing import Final

# They don't concern the access token, so a provider need not list them as granted.
NOT_OF_TOKENS: Final = frozenset({"openid", "offline_access"})
# Those that many providers leave out of what they list as granted, or list by another name.
_OF_USER: Final = frozenset({"profile", "email"})
UNLISTED: Final = NOT_OF_TOKENS | _OF_USER
# Google's names ("OAuth 2.0 Scopes for Google APIs", OpenID Connect).
_ALIASES: Final = {"userinfo.email": "email", "userinfo.profile": "profile"}


def normalized(scope: str) -> str:
    """Return the scopes sorted, once each."""
    return " ".join(sorted(set(scope.split())))


def missing(wanted: Iterable[str], granted: str) -> tuple[str, ...]:
    """Return those of the wanted scopes that a provider did not list as granted, by any of their spellings.

    A comma may be part of a name, or between two, in what is wanted as well: that may be what a provider listed before.
    """
    spellings = {_spelling(name) for listed in granted.split() for name in (listed, *_parts(listed))}
    lacking = (name for name in wanted if _spelling(name) not in spellings)
    return tuple(sorted({part for name in lacking for part in _parts(name) if _spelling(part) not in spellings}))


def has(asked: str, granted: str | None) -> frozenset[str]:
    """Return the scopes of a token: those that the provider listed, and those of `asked` that it means by them.

    A provider that lists none granted what was asked for (RFC 6749, section 5.1).
    """
    names = frozenset(asked.split())
    if granted is None:
        return names
    return frozenset(granted.split()) | (names - set(missing(names, granted)))


def coverage(asked: str, granted: str | None) -> frozenset[str]:
    """Return the scopes that a token can be taken to have: also those that its provider granted and doesn't list.

    A provider that lists one of the scopes about the user lists all of them.
    """
    listed = has(asked, granted)
    if any(_spelling(part) in _OF_USER for name in listed for part in (name, *_parts(name))):
        return listed | NOT_OF_TOKENS
    return listed | NOT_OF_TOKENS | (_OF_USER & frozenset(asked.split()))


def further(scopes: Iterable[str], granted: str) -> tuple[str, ...]:
    """Return those that a provider lists as granted besides these scopes."""
    return missing(set(granted.split()) - NOT_OF_TOKENS, " ".join(scopes))


def without(scope: str, lost: str) -> str:
    """Return the scopes that a provider listed once, without those that it took since."""
    spellings = {_spelling(name) for name in lost.split()}
    parts = (part for name in scope.split() for part in ((name,) if "," not in name or not lost else _parts(name)))
    return " ".join(part for part in parts if _spelling(part) not in spellings)


def _parts(name: str) -> list[str]:
    return name.replace(",", " ").split()


def _spelling(name: str) -> str:
    """Return what spellings of a scope have in common: no case, and of a URL (Microsoft, Google) the last part."""
    name = name.lower()
    if "://" in name:
        name = name.rstrip("/").rpartition("/")[2]
    return _ALIASES.get(name, name)
