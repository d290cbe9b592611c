"""The sentences that people read, one example each, in one table.

Other tests assert what a program reads: the class of an error, its code, `failure` and `remedy`. The wording is
asserted here alone, so that it can be improved in one place. A row is what happens, and the whole sentence for it.
"""

from collections.abc import Callable
from typing import Final

import pytest

from auth_agent.urls import check_url

# What happens (it raises, or returns something that has the sentence), and the sentence.
Example = tuple[Callable[[], object], str]

URLS: Final[list[Example]] = [
    (
        lambda: check_url("http://acme.example/"),
        "'http://acme.example/' must begin with https:// (http:// is for this machine only)",
    ),
]

# ---- agent: sessions

# ---- agent: storage, worker

# ---- agent: oauth, loopback, ipc, host, configuration

# ---- the command line, and the client

EXAMPLES: Final = [*URLS]


def sentence(happens: Callable[[], object]) -> str:
    """Return the text of what that raises, or else of what it returns."""
    try:
        result = happens()
    except Exception as error:  # noqa: BLE001 -- whatever it is, its text is what the row is about
        return str(error)
    for name in ("message", "reason"):
        text = getattr(result, name, None)
        if isinstance(text, str):
            return text
    assert isinstance(result, str)
    return result


@pytest.mark.parametrize(("happens", "expected"), EXAMPLES, ids=[expected[:60] for _, expected in EXAMPLES])
def test_each_sentence_is_as_the_table_has_it(happens: Callable[[], object], expected: str) -> None:
    assert sentence(happens) == expected


def test_each_sentence_stands_once() -> None:
    sentences = [expected for _, expected in EXAMPLES]
    assert len(set(sentences)) == len(sentences)
