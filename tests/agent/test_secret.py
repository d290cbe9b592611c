"""A secret shows itself nowhere but through `reveal`."""

import copy
import json
import logging
import pickle
import pprint
import traceback
from dataclasses import asdict, dataclass
from hashlib import sha256

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.secret import Secret

SHOWN = "Secret(…)"

# Lone surrogates too: a provider's JSON may hold them.
TEXTS = st.text(alphabet=st.characters(codec=None))


@dataclass(frozen=True)
class Holder:
    token: Secret


def secret() -> Secret:
    return Secret("hunter2")


def test_the_one_door_gives_the_text() -> None:
    assert secret().reveal() == "hunter2"


@pytest.mark.parametrize(
    "shown",
    [
        repr(secret()),
        str(secret()),
        format(secret()),
        format(secret(), ">40"),
        f"{secret()}",
        f"{secret()!r}",
        f"{secret()!s}",
        f"{secret()!a}".replace("\\u2026", "…"),
        f"{secret():s}",
        "%s" % secret(),  # noqa: UP031 -- one of the ways
        "%r" % secret(),  # noqa: UP031 -- one of the ways
        "{}".format(secret()),  # noqa: UP032 -- one of the ways
        pprint.pformat(secret()),
    ],
)
def test_a_secret_shows_as_nothing_however_it_is_printed(shown: str) -> None:
    assert shown == SHOWN


def test_a_secret_in_something_shows_as_nothing() -> None:
    assert repr([secret()]) == f"[{SHOWN}]"
    assert repr({secret(): secret()}) == f"{{{SHOWN}: {SHOWN}}}"
    assert repr(Holder(secret())) == f"Holder(token={SHOWN})"


def test_a_secret_in_an_error_shows_as_nothing() -> None:
    assert str(ValueError(secret())) == SHOWN
    assert repr(KeyError(secret())) == f"KeyError({SHOWN})"


def test_a_secret_in_a_log_line_shows_as_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("refreshing with %s", secret())
    assert caplog.messages == [f"refreshing with {SHOWN}"]


def test_a_traceback_with_locals_does_not_show_a_secret() -> None:
    def fail(token: Secret) -> None:
        holder = Holder(token)
        raise ValueError(f"{holder} failed")

    with pytest.raises(ValueError, match="failed") as raised:
        fail(secret())
    shown = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert f"token = {SHOWN}" in shown
    assert f"holder = Holder(token={SHOWN})" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_refuses_to_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="a secret can't be pickled"):
        pickle.dumps(secret(), protocol)


def test_what_holds_a_secret_can_not_be_pickled_either() -> None:
    with pytest.raises(TypeError, match="a secret can't be pickled"):
        pickle.dumps([Holder(secret())])


def test_a_secret_is_not_copied() -> None:
    with pytest.raises(TypeError):
        copy.copy(secret())
    with pytest.raises(TypeError):
        copy.deepcopy(secret())
    with pytest.raises(TypeError):
        asdict(Holder(secret()))


def test_a_secret_refuses_to_be_iterated() -> None:
    with pytest.raises(TypeError, match="a secret can't be iterated"):
        list(secret())
    with pytest.raises(TypeError):
        "".join(secret())


def test_a_secret_is_no_text_bytes_or_json() -> None:
    assert not isinstance(secret(), str)
    with pytest.raises(TypeError):
        json.dumps({"token": secret()})
    with pytest.raises(TypeError):
        bytes(secret())


def test_a_secret_has_no_dictionary_to_be_dumped() -> None:
    with pytest.raises(TypeError):
        vars(secret())


def test_secrets_of_one_text_are_equal_and_hash_alike() -> None:
    assert secret() == secret()
    assert len({secret(), secret(), Secret("another")}) == 2


def test_a_secret_is_not_equal_to_its_text() -> None:
    assert secret() != "hunter2"
    assert hash(secret()) != hash("hunter2")


def test_secrets_of_different_texts_differ() -> None:
    assert secret() != Secret("hunter3")


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_secrets_are_equal_when_their_texts_are_and_so_are_fingerprints(one: str, other: str) -> None:
    same = one == other
    assert (Secret(one) == Secret(other)) is same
    assert (Secret(one).fingerprint() == Secret(other).fingerprint()) is same
    assert hash(Secret(one)) == hash(Secret(one))


def test_the_fingerprint_is_the_sha_256_of_the_text() -> None:
    assert secret().fingerprint() == sha256(b"hunter2").hexdigest()


def test_a_text_that_is_no_unicode_has_a_fingerprint_too() -> None:
    assert len(Secret("half \ud83d").fingerprint()) == 64
