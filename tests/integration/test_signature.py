"""The check of signatures in its worker process."""

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from auth_agent.oauth.signature import SignatureCheckError, WorkerSignatures
from auth_agent.secret import Secret
from tests.integration.test_worker import children, descriptors, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient_stores")]

KEY = ECKey.generate_key("P-256")
KEYS = json.dumps({"keys": [{**KEY.as_dict(private=False), "kid": "one"}]})
WRONG = "the ID token's signature is wrong: the provider's key did not make it"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def token(key: ECKey = KEY, **header: Any) -> Secret:
    return Secret(jws.serialize_compact({"alg": "ES256", "kid": "one", **header}, '{"sub": "canary"}', key))


@asynccontextmanager
async def start_worker() -> AsyncGenerator[WorkerSignatures]:
    signatures = WorkerSignatures()
    try:
        yield signatures
    finally:
        await signatures.release()
        assert children() == []


async def test_a_good_signature_has_no_problem_and_a_wrong_one_has() -> None:
    async with start_worker() as signatures:
        assert children() == []  # before there is something to check
        assert await signatures.problem(token(), KEYS) is None
        assert await signatures.problem(token(ECKey.generate_key("P-256")), KEYS) == WRONG
        assert await signatures.problem(Secret("opaque"), KEYS) == "the ID token's signature can't be read"
        assert await signatures.problem(token(kid="\x1b"), KEYS) == (
            "the ID token is signed by a key (' ') that is not among the provider's"
        )


async def test_a_clients_secret_checks_what_it_signed() -> None:
    secret = "jürgen's secret of the client"
    key = OctKey.import_key(secret.encode())
    signed = Secret(jws.serialize_compact({"alg": "HS256"}, '{"sub": "canary"}', key))
    async with start_worker() as signatures:
        assert await signatures.mac_problem(signed, Secret(secret), "HS256", "ID token") is None
        for other, algorithm in ((secret, "HS384"), (f"{secret}.", "HS256")):
            problem = await signatures.mac_problem(signed, Secret(other), algorithm, "ID token")
            assert problem is not None
            assert "jürgen" not in problem
        assert await signatures.problem(signed, KEYS) is not None


async def test_the_process_ends_with_the_check_and_leaves_nothing_open() -> None:
    async with start_worker() as signatures:
        before = descriptors()
        for _ in range(3):
            assert await signatures.problem(token(), KEYS) is None
            assert (children(), descriptors()) == ([], before)


async def test_signatures_are_checked_one_after_the_other_by_the_same_process() -> None:
    seen, most, result = set[int](), 0, list[str | None]()
    async with start_worker() as signatures, anyio.create_task_group() as tasks:

        async def check(its_token: Secret) -> None:
            result.append(await signatures.problem(its_token, KEYS))

        for number in range(4):
            tasks.start_soon(check, token() if number % 2 else token(ECKey.generate_key("P-256")))
        while len(result) < 4:
            seen.update(children())
            most = max(most, len(children()))
            await anyio.sleep(0.01)
    assert sorted(result, key=str) == [None, None, WRONG, WRONG]
    assert (most, len(seen)) == (1, 1)


async def test_the_process_ends_if_the_last_check_is_cancelled_as_its_turn_comes() -> None:
    last = anyio.CancelScope()
    async with start_worker() as signatures:

        async def check_first() -> None:
            assert await signatures.problem(token(), KEYS) is None
            last.cancel()  # before the other check runs

        async def check_last() -> None:
            with last:
                await signatures.problem(token(), KEYS)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check_first)
            tasks.start_soon(check_last)
        await wait_for(lambda: not children())


async def test_a_worker_that_dies_verifies_nothing_and_the_next_check_has_another() -> None:
    async with start_worker() as signatures:
        failures: list[str] = []

        async def check() -> None:
            with pytest.raises(SignatureCheckError) as failed:
                await signatures.problem(token(), KEYS)
            failures.append(str(failed.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check)
            await wait_for(children)
            os.kill(children()[0], signal.SIGKILL)
        (message,) = failures
        assert "worker" in message
        assert await signatures.problem(token(), KEYS) is None


async def test_the_result_of_a_cancelled_check_is_not_taken_for_the_next() -> None:
    async with start_worker() as signatures:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(signatures.problem, token(), KEYS)
            await wait_for(children)
            tasks.cancel_scope.cancel()
        assert await signatures.problem(token(ECKey.generate_key("P-256")), KEYS) == WRONG


async def test_without_a_worker_the_signature_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    async with start_worker() as signatures:
        before = descriptors()
        with pytest.raises(SignatureCheckError, match="FileNotFoundError"):
            await signatures.problem(token(), KEYS)
        assert descriptors() == before


@pytest.mark.parametrize("response", ["{}", '{"result": false}', '{"result": 7}', '{"failure": "failed", "text": "x"}'])
async def test_an_invalid_response_of_the_worker_verifies_nothing(
    response: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nread -r request\necho '{response}'\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    async with start_worker() as signatures:
        with pytest.raises(SignatureCheckError, match="signature"):
            await signatures.problem(token(), KEYS)


async def test_the_token_is_in_no_error_no_argument_and_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = token()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nenv > {tmp_path}/environment\nread -r request\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    async with start_worker() as signatures:
        with pytest.raises(SignatureCheckError) as failed:
            await signatures.problem(secret, KEYS)
    output = str(failed.value) + (tmp_path / "arguments").read_text() + (tmp_path / "environment").read_text()
    assert "auth_agent.worker" in output
    assert not [part for part in secret.reveal().split(".") if part in output]
