"""Only `reveal` returns a secret's string."""

import copy
import json
import logging
import pickle
import pprint
import traceback
from dataclasses import asdict, dataclass
from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from auth_agent.secret import Secret

HIDDEN = "Secret(…)"

# Lone surrogates too: a provider's JSON may hold them.
STRINGS = st.text(alphabet=st.characters(codec=None))


@dataclass(frozen=True)
class Holder:
    token: Secret


def secret() -> Secret:
    return Secret("hunter2")


def test_reveal_returns_the_string() -> None:
    assert secret().reveal() == "hunter2"


@pytest.mark.parametrize(
    "output",
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
def test_no_way_of_printing_a_secret_reveals_it(output: str) -> None:
    assert output == HIDDEN


def test_a_container_does_not_reveal_its_secret() -> None:
    assert repr([secret()]) == f"[{HIDDEN}]"
    assert repr({secret(): secret()}) == f"{{{HIDDEN}: {HIDDEN}}}"
    assert repr(Holder(secret())) == f"Holder(token={HIDDEN})"


def test_an_exception_does_not_reveal_its_secret() -> None:
    assert str(ValueError(secret())) == HIDDEN
    assert repr(KeyError(secret())) == f"KeyError({HIDDEN})"


def test_a_log_line_does_not_reveal_its_secret(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("refreshing with %s", secret())
    assert caplog.messages == [f"refreshing with {HIDDEN}"]


def test_a_traceback_with_locals_does_not_reveal_a_secret() -> None:
    def fail(token: Secret) -> None:
        holder = Holder(token)
        raise ValueError(f"{holder} failed")

    with pytest.raises(ValueError, match="failed") as raised:
        fail(secret())
    output = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert f"token = {HIDDEN}" in output
    assert f"holder = Holder(token={HIDDEN})" in output
    assert "hunter2" not in output


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_can_not_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(secret(), protocol)


def test_an_object_with_a_secret_can_not_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps([Holder(secret())])


def test_a_secret_can_not_be_copied() -> None:
    with pytest.raises(TypeError):
        copy.copy(secret())
    with pytest.raises(TypeError):
        copy.deepcopy(secret())
    with pytest.raises(TypeError):
        asdict(Holder(secret()))


def test_a_secret_can_not_be_iterated() -> None:
    with pytest.raises(TypeError):
        list(secret())
    with pytest.raises(TypeError):
        "".join(secret())


def test_a_secret_is_neither_string_nor_bytes_nor_json() -> None:
    assert not isinstance(secret(), str)
    with pytest.raises(TypeError):
        json.dumps({"token": secret()})
    with pytest.raises(TypeError):
        bytes(secret())


def test_a_secret_has_no_attribute_dictionary() -> None:
    with pytest.raises(TypeError):
        vars(secret())


def test_secrets_with_equal_strings_are_equal() -> None:
    assert secret() == secret()
    assert len({secret(), secret(), Secret("another")}) == 2


def test_a_secret_is_not_equal_to_its_string() -> None:
    assert secret() != "hunter2"
    assert hash(secret()) != hash("hunter2")


def test_secrets_with_different_strings_are_not_equal() -> None:
    assert secret() != Secret("hunter3")


@given(STRINGS, STRINGS)
def test_secrets_and_fingerprints_are_equal_if_their_strings_are(first: str, second: str) -> None:
    same = first == second
    assert (Secret(first) == Secret(second)) is same
    assert (Secret(first).fingerprint() == Secret(second).fingerprint()) is same
    assert hash(Secret(first)) == hash(Secret(first))


def test_the_fingerprint_is_the_sha_256_of_the_string() -> None:
    assert secret().fingerprint() == sha256(b"hunter2").hexdigest()


def test_a_string_with_a_lone_surrogate_has_a_fingerprint() -> None:
    assert len(Secret("half \ud83d").fingerprint()) == 64
