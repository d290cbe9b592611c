"""Sealed sessions: what a passphrase opens, and that nothing else and nothing changed is taken for it."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from auth_agent.worker.sealing import (
    LOG_N,
    DamagedError,
    Derivation,
    Header,
    NewerVersionError,
    RecordHead,
    WrongPassphraseError,
    dump_header,
    new_derivation,
    new_header,
    open_record,
    parse_header,
    read_head,
    seal_record,
    unwrap,
    with_new_key,
    with_newest_key,
    with_passphrase,
)

# A cheap one: the cost itself is tested where it matters.
CHEAP = Derivation(bytes(range(16)), log_n=10)
KEY = CHEAP.key("correct horse")
STORE = "ab" * 16
HEAD = RecordHead(STORE, 1, "work", 7)
ENTRY = '{"refresh_token": "täxt \U0001f511"}'


def header() -> tuple[Header, bytes]:
    return new_header(STORE, CHEAP, KEY)


def damaged(data: bytes) -> list[bytes]:
    """Each copy with one bit flipped, and each that ends early."""
    flipped = [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]
    return [*flipped, *(data[:at] for at in range(len(data))), data + b" "]


def rewritten(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with other members, and the checksum that belongs to them, as somebody would write it on purpose."""
    members = json.loads(data)
    change(members)
    if members.pop("checksum", None) is None:
        return json.dumps(members, separators=(",", ":")).encode() + b"\n"
    checksum = sha256(json.dumps(members, separators=(",", ":")).encode() + b"\n").hexdigest()
    return json.dumps({**members, "checksum": checksum}, separators=(",", ":")).encode() + b"\n"


# ---- the header


def test_the_passphrase_unwraps_the_data_key() -> None:
    made, key = header()
    assert unwrap(parse_header(dump_header(made)), KEY) == {1: key}


def test_another_passphrase_does_not() -> None:
    made, _ = header()
    with pytest.raises(WrongPassphraseError):
        unwrap(made, CHEAP.key("correct horse "))


def test_a_damaged_header_is_never_taken_for_a_wrong_passphrase() -> None:
    for wrong in damaged(dump_header(header()[0])):
        with pytest.raises(DamagedError):
            parse_header(wrong)


def test_what_is_beside_a_wrapped_key_is_bound_to_it() -> None:
    made, _ = header()
    other = replace(made.keys[0], since=1)
    for changed in (replace(made, store="cd" * 16), replace(made, keys=(other,))):
        with pytest.raises(WrongPassphraseError):
            unwrap(parse_header(dump_header(changed)), KEY)


@pytest.mark.parametrize(
    ("log_n", "r", "p"),
    [(18, 17, 1), (21, 8, 1), (22, 1, 1), (9, 8, 1), (17, 33, 1), (17, 0, 1), (10, 1, 5), (10, 1, 0)],
)
def test_a_header_can_not_ask_for_all_memory_or_time(log_n: int, r: int, p: int) -> None:
    def ask(members: dict[str, Any]) -> None:
        members["kdf"] = {**CHEAP.members(), "log_n": log_n, "r": r, "p": p}

    with pytest.raises(DamagedError, match=r"asks for"):
        parse_header(rewritten(dump_header(header()[0]), ask))


def test_a_header_may_ask_for_as_much_as_is_allowed() -> None:
    derivation = Derivation(bytes(16), log_n=18, r=8)
    assert derivation.memory == 256 << 20
    wrapped = Header(STORE, derivation, header()[0].keys)
    assert parse_header(dump_header(wrapped)) == wrapped


def test_a_header_of_a_newer_version_says_so() -> None:
    with pytest.raises(NewerVersionError, match="newer version"):
        parse_header(rewritten(dump_header(header()[0]), lambda members: members.update(version=2)))


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda members: members.update(more=1),
    lambda members: members.update(keys=[]),
    lambda members: members.update(keys=members["keys"] * 3),
    lambda members: members.update(store="AB" * 15),
    lambda members: members["keys"][0].pop("nonce"),
    lambda members: members["keys"][0].update(since=-1),
    lambda members: members["keys"][0].update(wrapped="AA=="),
    lambda members: members["kdf"].update(name="none"),
    lambda members: members["kdf"].update(salt=""),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_header_that_somebody_wrote_otherwise_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(DamagedError):
        parse_header(rewritten(dump_header(header()[0]), change))


def test_another_passphrase_rewrites_the_header_and_keeps_the_data_key() -> None:
    made, key = header()
    other = replace(CHEAP, salt=bytes(16))
    changed = with_passphrase(made, {1: key}, other, other.key("new"))
    assert unwrap(changed, other.key("new")) == {1: key}
    with pytest.raises(WrongPassphraseError):
        unwrap(changed, KEY)


def test_a_new_data_key_is_beside_the_old_one_until_that_is_dropped() -> None:
    made, key = header()
    both, new = with_new_key(made, KEY, since=5)
    assert new != key
    assert unwrap(parse_header(dump_header(both)), KEY) == {1: key, 2: new}
    newest = with_newest_key(both)
    assert unwrap(parse_header(dump_header(newest)), KEY) == {2: new}
    assert newest.keys[0].since == 5


def test_a_new_store_takes_128_mib_for_each_guess_and_has_a_salt_of_its_own() -> None:
    one, other = new_derivation(), new_derivation()
    assert (one.log_n, one.memory, len(one.salt)) == (LOG_N, 128 << 20, 16)
    assert one.salt != other.salt


def test_the_same_letters_are_the_same_passphrase_however_a_keyboard_sends_them() -> None:
    assert CHEAP.key("pass\u00e4") == CHEAP.key("passa\u0308")
    for wrong in ("", "x" * 1025):
        with pytest.raises(WrongPassphraseError):
            CHEAP.key(wrong)


def test_the_key_is_that_of_scrypt_as_others_compute_it() -> None:
    # RFC 7914, section 12, the second vector: the first half of its 64 bytes.
    vector = Derivation(b"NaCl", log_n=10, r=8, p=16)
    assert vector.key("password").hex() == "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"


# ---- the records


def test_a_record_has_what_was_sealed() -> None:
    key = os.urandom(32)
    assert open_record(seal_record(HEAD, key, ENTRY), {1: key}, STORE, "work") == (HEAD, ENTRY)


@settings(max_examples=50)
@given(entry=strategies.text(), counter=strategies.integers(0, 2**53 - 1))
def test_any_entry_can_be_sealed(entry: str, counter: int) -> None:
    key, head = bytes(32), replace(HEAD, counter=counter)
    assert open_record(seal_record(head, key, entry), {1: key}, STORE, "work") == (head, entry)


def test_no_bit_of_a_record_can_be_changed() -> None:
    key = bytes(32)
    for wrong in damaged(seal_record(HEAD, key, ENTRY)):
        with pytest.raises(DamagedError):
            open_record(wrong, {1: key}, STORE, "work")


@pytest.mark.parametrize(
    ("name", "value"),
    [("account", "home"), ("counter", 8), ("store", "cd" * 16)],
)
def test_a_record_can_not_be_passed_off_as_another(name: str, value: object) -> None:
    key = bytes(32)
    changed = rewritten(seal_record(HEAD, key, ENTRY), lambda members: members.update({name: value}))
    head = read_head(changed)
    with pytest.raises(DamagedError, match="damaged"):
        open_record(changed, {1: key}, head.store, head.account)


def test_a_record_of_another_account_or_store_or_key_is_refused() -> None:
    data = seal_record(HEAD, bytes(32), ENTRY)
    with pytest.raises(DamagedError, match="another account's"):
        open_record(data, {1: bytes(32)}, STORE, "home")
    with pytest.raises(DamagedError, match="another store"):
        open_record(data, {1: bytes(32)}, "cd" * 16, "work")
    with pytest.raises(DamagedError, match="key that the store's header lacks"):
        open_record(data, {2: bytes(32)}, STORE, "work")
    with pytest.raises(DamagedError, match="is damaged"):
        open_record(data, {1: b"x" * 32}, STORE, "work")


def test_nothing_of_an_entry_is_readable_and_no_two_writes_are_alike() -> None:
    records = {seal_record(HEAD, bytes(32), ENTRY) for _ in range(100)}
    nonces = {json.loads(record)["nonce"] for record in records}
    assert (len(records), len(nonces)) == (100, 100)
    assert not any(b"refresh_token" in record for record in records)
