"""Checking the signature of ID tokens, with real keys of each kind."""

import base64
import hashlib
import hmac
import json
import re
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given, strategies as st
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import JWKRegistry, Key, OctKey, RSAKey

from auth_agent.worker.signatures import verify, verify_mac

PAYLOAD = json.dumps({"iss": "https://acme.example/", "sub": "auth0|1", "name": "canary"})

ALGORITHMS = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
}


@cache
def key(kind: str = "RSA", number: int = 1) -> Key:
    """Return the first, second … key of a kind; each is generated once, since RSA keys are slow."""
    del number
    if kind == "RSA":
        return RSAKey.generate_key(2048)
    if kind == "weak":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            return RSAKey.generate_key(1024)
    return JWKRegistry.generate_key("EC" if kind.startswith("P-") else "OKP", kind)


def public_key(signing_key: Key, **members: object) -> dict[str, Any]:
    """Return the public key as a provider publishes it."""
    return {**signing_key.as_dict(private=False), **members}


def key_set(*keys: object) -> str:
    return json.dumps({"keys": keys})


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sign(signing_key: Key, algorithm: str = "RS256", payload: str = PAYLOAD, **header: object) -> str:
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = 1 << 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact({"alg": algorithm, **header}, payload, signing_key, registry=registry)


def sign_with_secret(secret: bytes, algorithm: str = "HS256", **header: object) -> str:
    """Return a token signed with a shared secret."""
    text = f"{encode(json.dumps({'alg': algorithm, **header}).encode())}.{encode(PAYLOAD.encode())}"
    return f"{text}.{encode(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def unsigned(header: object) -> str:
    """Return a token with that header and an invalid signature."""
    return f"{encode(json.dumps(header).encode())}.{encode(PAYLOAD.encode())}.{encode(b'signature')}"


# Reasons, by an example of each; tests/test_wording.py has the sentences.
WRONG = verify(sign(key("P-256"), "ES256"), key_set(public_key(key("P-256", 2))))
UNREADABLE = verify("opaque", key_set())
NO_RSA_KEY = verify(unsigned({"alg": "RS256"}), key_set())
UNFIT = verify(unsigned({"alg": "RS256", "kid": "one"}), key_set({"kid": "one", "kty": "oct"}))
NO_KEYS = verify(sign(key("P-256"), "ES256"), "{}")


def quoted(reason: str | None) -> list[str]:
    """Return the strings that a reason quotes."""
    assert reason is not None
    return re.findall(r"(?<![a-z])'([^']*)'", reason)


def test_each_reason_differs() -> None:
    assert len({None, WRONG, UNREADABLE, NO_RSA_KEY, UNFIT, NO_KEYS}) == 6
    assert quoted(UNFIT) == ["one"]


# ---- valid signatures


@pytest.mark.parametrize(("algorithm", "kind"), ALGORITHMS.items())
def test_a_signature_of_each_algorithm_is_valid(algorithm: str, kind: str) -> None:
    token = sign(key(kind), algorithm, kid="one")
    assert verify(token, key_set(public_key(key(kind), kid="one", use="sig", alg=algorithm))) is None
    assert verify(token, key_set(public_key(key(kind), kid="one"))) is None
    assert verify(token, key_set(public_key(key(kind, 2), kid="one"))) == WRONG


def test_eddsa_works_with_ed448_too() -> None:
    assert verify(sign(key("Ed448"), "EdDSA"), key_set(public_key(key("Ed448")))) is None


def test_the_kid_of_the_token_selects_the_key() -> None:
    keys = key_set(public_key(key(), kid="one"), public_key(key(number=2), kid="two"))
    assert verify(sign(key(), kid="one"), keys) is None
    assert verify(sign(key(number=2), kid="two"), keys) is None
    assert verify(sign(key(number=2), kid="one"), keys) == WRONG


def test_without_a_kid_every_suitable_key_is_tried() -> None:
    keys = key_set(public_key(key("P-256")), public_key(key()), public_key(key(number=2), kid="two"))
    assert verify(sign(key()), keys) is None
    assert verify(sign(key(number=2)), keys) is None
    assert verify(sign(key("P-256"), "ES256"), keys) is None
    assert verify(sign(key(number=3)), keys) == WRONG


def test_of_two_keys_with_the_same_kid_either_may_match() -> None:
    keys = key_set(
        public_key(key("P-256"), kid="one"), public_key(key(number=2), kid="one"), public_key(key(), kid="one")
    )
    assert verify(sign(key(), kid="one"), keys) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "one"},
        {"kty": "RSA", "kid": "one"},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "one"},
        {"kty": "RSA", "n": 7, "e": ["AQAB"], "kid": "one"},
        {"kty": "RSA", "n": "", "e": "", "kid": "one"},
        {"kty": "RSA", "n": "A" * 100_000, "e": "AQAB", "kid": "one"},
        {"kty": "RSA", "n": "_" * 100_000, "e": "AQAB", "kid": "one"},
        {"kty": "EC", "crv": "P-1", "x": "AAAA", "y": "AAAA", "kid": "one"},
        {"kty": ["RSA"], "kid": ["one"]},
        {"kty": None, "use": {}, "alg": 7},
        {},
        None,
        "key",
        7,
        ["kty", "RSA"],
    ],
    ids=lambda odd: repr(odd)[:40],
)
def test_an_invalid_key_does_not_hide_the_matching_one(odd: object) -> None:
    assert verify(sign(key(), kid="one"), key_set(odd, public_key(key(), kid="one"), odd)) is None
    assert verify(sign(key()), key_set(odd, public_key(key()), odd)) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"x5c": "no list", "x5u": "no address", "x5t": 7},
        {"key_ops": ["verify", "wave"]},
        {"use": None, "alg": None},
        {"n8n": [1]},
    ],
    ids=str,
)
def test_other_members_of_a_key_may_be_invalid(odd: dict[str, object]) -> None:
    assert verify(sign(key()), key_set(public_key(key(), **odd))) is None


def test_unknown_members_of_the_header_are_ignored() -> None:
    token = sign(key(), typ="JWT", x5t="AAAA", org="acme", x5c=["A" * 4000])
    assert verify(token, key_set(public_key(key()))) is None


def test_a_token_may_be_as_large_as_a_response_that_the_agent_reads() -> None:
    token = sign(key(), payload=json.dumps({"groups": ["g" * 100] * 3000}))
    assert len(token) > 400_000
    assert verify(token, key_set(public_key(key()))) is None


# ---- invalid signatures


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_rejected(algorithm: str) -> None:
    text = f"{encode(json.dumps({'alg': algorithm}).encode())}.{encode(PAYLOAD.encode())}."
    for token in (text, text + encode(b"signature")):
        problem = verify(token, key_set(public_key(key())))
        assert problem is not None
        assert quoted(problem) == [algorithm]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "RS1", "ES256K", "RS256 ", "rs256"])
def test_an_algorithm_outside_the_list_is_rejected_whatever_the_keys_allow(algorithm: str) -> None:
    allowing = public_key(key(), alg=algorithm, kid="one")
    problem = verify(unsigned({"alg": algorithm, "kid": "one"}), key_set(allowing))
    assert problem is not None
    assert quoted(problem) == [algorithm]


def test_a_set_whose_keys_have_no_names_is_tried() -> None:
    keys = key_set(public_key(key("P-256")), public_key(key()))
    assert verify(sign(key(), kid="three"), keys) is None
    assert verify(sign(key("P-256", 2), "ES256", kid="three"), keys) == WRONG


def test_a_token_is_signed_by_the_algorithm_that_was_fixed_for_it() -> None:
    keys = key_set(public_key(key()))
    assert verify(sign(key()), keys, "RS256") is None
    problem = verify(sign(key(), "PS256"), keys, "RS256")
    assert problem is not None
    assert quoted(problem) == ["PS256"]


@pytest.mark.parametrize("secret", ["s" * 32, "short", "jürgen" * 8])
def test_the_clients_secret_checks_a_token_by_its_utf_8(secret: str) -> None:
    assert verify_mac(sign_with_secret(secret.encode()), secret, "HS256") is None
    assert verify_mac(sign_with_secret(secret.encode()), f"{secret} ", "HS256") not in (None, UNREADABLE)


def test_a_token_that_the_secret_did_not_sign_is_rejected() -> None:
    secret = "s" * 64
    signed = sign_with_secret(secret.encode())
    for token in (f"{signed[:-4]}AAAA", signed.rpartition(".")[0] + ".", unsigned({"alg": "HS256"})):
        assert verify_mac(token, secret, "HS256") is not None
    for token, algorithm in (
        (signed, "HS512"),
        (sign(key()), "HS256"),
        (unsigned({"alg": "none"}), "HS256"),
        (sign_with_secret(secret.encode(), "HS384"), "HS256"),
        (sign_with_secret(secret.encode(), crit=["exp"]), "HS256"),
        ("opaque", "HS256"),
    ):
        assert verify_mac(token, secret, algorithm) is not None


def test_a_public_key_is_not_accepted_as_a_shared_secret() -> None:
    signing_key = key()
    assert isinstance(signing_key, RSAKey)
    jwk = public_key(signing_key, kid="one", alg="HS256")
    shared = OctKey.import_key("canary" * 8).as_dict(private=True)
    secrets = [
        signing_key.as_pem(private=False),
        signing_key.as_pem(private=False).strip(),
        signing_key.as_der(private=False),
        json.dumps(jwk).encode(),
        json.dumps(jwk, separators=(",", ":")).encode(),
        str(jwk["n"]).encode(),
        b"canary" * 8,
        b"",
    ]
    for secret in secrets:
        for keys in (key_set(jwk), key_set(jwk, {**shared, "kid": "one", "alg": "HS256"}), key_set(shared)):
            problem = verify(sign_with_secret(secret, kid="one"), keys)
            assert problem is not None
            assert quoted(problem) == ["HS256"]
        assert verify(
            sign_with_secret(secret, "RS256", kid="one"),
            key_set({**shared, "kid": "one"}, public_key(signing_key, kid="one")),
        )


def test_another_payload_or_header_is_a_wrong_signature() -> None:
    head, _, signature = sign(key(), kid="one").split(".")
    keys = key_set(public_key(key(), kid="one"))
    nameless = unsigned({"alg": "RS256"}).partition(".")[0]
    other = encode(json.dumps({"sub": "auth0|2"}).encode())
    assert verify(f"{head}.{other}.{signature}", keys) == WRONG
    assert verify(f"{nameless}.{encode(PAYLOAD.encode())}.{signature}", keys) == WRONG
    assert verify(f"{head}.{encode(PAYLOAD.encode())}.", keys) == WRONG
    assert verify(f"{head}..{signature}", keys) == WRONG
    assert verify(f"{head}.{encode(PAYLOAD.encode())}.{signature[:-4]}", keys) == WRONG
    assert verify(f"{head}.{encode(PAYLOAD.encode())}.{encode(bytes(64))}", keys) == WRONG


def test_an_ecdsa_signature_of_zeros_is_wrong() -> None:
    head, payload, _ = sign(key("P-256"), "ES256").split(".")
    assert verify(f"{head}.{payload}.{encode(bytes(64))}", key_set(public_key(key("P-256")))) == WRONG


def test_an_unknown_kid_is_named() -> None:
    assert quoted(verify(sign(key(), kid="three"), key_set(public_key(key(), kid="one")))) == ["three"]
    assert quoted(verify(sign(key(), kid="three"), key_set(public_key(key()), public_key(key(), kid="one")))) == [
        "three"
    ]
    assert quoted(verify(sign(key(), kid=""), key_set(public_key(key(), kid="one")))) == [""]
    assert quoted(verify(sign(key(), kid="\x1b[31m"), key_set())) == [" [31m"]
    assert quoted(verify(sign(key(), kid="k" * 300), key_set())) == ["k" * 59 + "…"]


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"use": "SIG"},
        {"use": ["sig"]},
        {"alg": "PS256"},
        {"alg": "HS256"},
        {"alg": ""},
        {"kty": "EC"},
        {"kty": "oct"},
    ],
    ids=str,
)
def test_a_key_for_another_use_or_algorithm_is_not_used(members: dict[str, object]) -> None:
    keys = key_set(public_key(key(), kid="one", **members))
    assert verify(sign(key(), kid="one"), keys) == UNFIT
    assert verify(sign(key()), keys) == NO_RSA_KEY


def test_a_key_of_another_curve_does_not_match() -> None:
    assert verify(sign(key("P-384"), "ES384", kid="one"), key_set(public_key(key("P-256"), kid="one"))) == WRONG
    assert verify(sign(key("Ed25519"), "EdDSA", kid="one"), key_set(public_key(key("X25519"), kid="one"))) == WRONG
    assert verify(sign(key("Ed25519"), "EdDSA", kid="one"), key_set(public_key(key("Ed448"), kid="one"))) == WRONG


def test_a_small_rsa_key_is_not_used() -> None:
    weak = public_key(key("weak"), kid="one")
    token = sign(key("weak"), kid="one")
    assert verify(token, key_set(weak)) == UNFIT
    assert verify(token, key_set(weak, public_key(key(), kid="one"))) == WRONG


@pytest.mark.parametrize("crit", [["b64"], ["kid"], [], "b64", None])
def test_an_unsupported_critical_header_is_rejected(crit: object) -> None:
    token = unsigned({"alg": "RS256", "kid": "one", "b64": False, "crit": crit})
    problem = verify(token, key_set(public_key(key(), kid="one")))
    assert problem is not None
    assert "(crit)" in problem
    assert problem not in (WRONG, UNREADABLE)


def test_an_unencoded_payload_is_rejected() -> None:
    assert verify(unsigned({"alg": "RS256", "b64": False}), key_set(public_key(key()))) == UNREADABLE


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "..",
        "a.b.c",
        "é.é.é",
        "\ud83d.\ud83d.\ud83d",
        f"{encode(b'[' * 100_000)}.a.b",
        unsigned([]),
        unsigned("alg"),
        unsigned({}),
        unsigned({"alg": None}),
        unsigned({"alg": ["RS256"]}),
        unsigned({"alg": {"RS256": 1}}),
        unsigned({"alg": 256}),
        unsigned({"alg": "RS256", "kid": 7}),
        unsigned({"alg": "RS256", "kid": ["one"]}),
        unsigned({"alg": "RS256"}) + ".d.e",
        unsigned({"alg": "RS256"}).rpartition(".")[0],
    ],
    ids=lambda token: ascii(token)[:40],
)
def test_what_is_not_a_token_is_unreadable(token: str) -> None:
    assert verify(token, key_set(public_key(key()))) == UNREADABLE


def test_an_overlong_token_is_rejected() -> None:
    assert verify("a" * ((1 << 19) + 1), key_set(public_key(key()))) not in (None, WRONG, UNREADABLE)


@pytest.mark.parametrize(
    "keys",
    ["", "no JSON", "[]", "null", "{}", '{"keys": {}}', '{"keys": null}', "[" * 100_000, " " * ((1 << 19) + 1)],
    ids=lambda keys: keys[:20],
)
def test_what_is_not_a_key_set_is_unreadable(keys: str) -> None:
    assert verify(sign(key()), keys) == NO_KEYS


def test_only_the_first_hundred_keys_of_a_set_are_tried() -> None:
    junk: list[Mapping[str, object]] = [{}] * 100
    assert verify(sign(key()), key_set(*junk[1:], public_key(key()))) is None
    assert verify(sign(key()), key_set(*junk, public_key(key()))) == NO_RSA_KEY


# ---- any input


@given(st.text(alphabet=st.characters(codec=None)), st.text(alphabet=st.characters(codec=None)))
def test_any_strings_are_rejected_with_a_printable_reason(token: str, keys: str) -> None:
    for problem in (verify(token, keys), verify(token, key_set(public_key(key()))), verify(sign(key()), keys)):
        assert problem
        assert problem.isprintable()


ANYTHING = st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters(codec=None)) | st.lists(st.text())


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "jwk", "x5c", "b64", "crit", "zip"]), ANYTHING),
    st.lists(st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "use", "alg", "kid"]), ANYTHING)),
)
def test_any_header_and_keys_are_rejected_with_a_printable_reason(
    header: dict[str, object], keys: list[dict[str, object]]
) -> None:
    for token in (unsigned(header), unsigned({"alg": "RS256", **header}), unsigned({**header, "alg": "ES256"})):
        problem = verify(token, key_set(*keys, public_key(key())))
        assert problem
        assert problem.isprintable()
        assert "canary" not in problem
