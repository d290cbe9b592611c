"""The replies that are kept for the same request again: when they are used, and what ends them."""

import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
from hypothesis import given, strategies as st

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.ipc.replies import MAX_KEPT, MAX_REQUEST, Repeatable, Replies
from auth_agent.secret import Secret
from auth_agent.sessions.schedule import SKEW
from auth_agent.sessions.session_end import LEEWAY
from auth_agent.sessions.state import AccessToken, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.sessions.term import Term
from auth_agent_client.wire import REQUEST, RESPONSE, Connection, Request
from tests.agent.heart import running
from tests.agent.test_handlers import Harness
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, FakeClock, FakeProvider, account, config, jwt, token_response

pytestmark = pytest.mark.anyio

AHEAD = 600.0
OTHER_API = "https://other.example/"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client(Harness):
    """A client of the handlers that sends bytes, as connections do."""

    def ask(self, id_: int = 1, method: str = "token", **parameters: object) -> tuple[bool, Any]:
        """Return whether the response was at hand, and its result."""
        data = request(id_, method, **parameters)
        response = self.handlers.repeat(self.client, data)
        return response is not None, result(self.answered(data) if response is None else response, id_)

    def has(self, **parameters: object) -> bool:
        """Return whether the response for that request is at hand."""
        return self.handlers.repeat(self.client, request(1, "token", **parameters)) is not None

    def answered(self, data: bytes) -> bytes:
        wire = Connection()
        wire.receive_data(data)
        message = wire.next_message()
        assert isinstance(message, Request)
        answer = self.handlers.answer(self.client, message)
        if not isinstance(answer, Repeatable):
            assert not callable(answer)
            return wire.respond(message, answer)
        response = wire.respond(message, answer.result)
        self.handlers.keep(message, response, answer)
        return response


def request(id_: int, method: str, **parameters: object) -> bytes:
    data: bytes = msgpack.packb([0, id_, method, [parameters]])
    return data


def result(response: bytes, id_: int) -> Any:
    kind, answered, error, value = msgpack.unpackb(response)
    assert (kind, answered, error) == (1, id_, None)
    return value


@asynccontextmanager
async def asking(provider: FakeProvider | None = None, work: Account | None = None) -> AsyncGenerator[Client]:
    async with running(provider or FakeProvider(), work or account(), account("home")) as world:
        yield Client(world)


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    async with asking() as client:
        yield client


@pytest.mark.parametrize("id_", [0, 127, 128, 255, 256, 65_535, 65_536, 0xFFFF_FFFF])
async def test_the_same_request_gets_the_same_result_with_its_own_id(client: Client, id_: int) -> None:
    first = client.ask(7, account="work")
    assert first == (False, {**first[1], "access_token": "at-2"})
    assert client.ask(id_, account="work") == (True, first[1])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x94",
        b"\x94\x00",
        b"\x94\x01\x01" + request(1, "token", account="work")[3:],  # a response
        b"\x94\x00\xcf\0\0\0\0\0\0\0\1" + request(1, "token", account="work")[3:],
        b"\x94\x00\xd0\x01" + request(1, "token", account="work")[3:],
        request(1, "token", account="work")[3:],
        request(1, "token", account="work") * 2,
        request(1, "token", account="work")[:-1],
        request(1, "token", account="home"),
        request(1, "token", account="work", min_ttl=1),
        request(1, "id_token", account="work"),
    ],
)
async def test_other_bytes_are_answered_the_whole_way(client: Client, data: bytes) -> None:
    client.ask(account="work")
    assert client.handlers.repeat(client.client, data) is None


async def test_a_reply_at_hand_is_counted_and_noted_as_a_request(client: Client) -> None:
    client.ask(account="work")
    advance(client, 9)
    assert client.ask(account="work")[0]
    assert client.counted == {"work": {"token": 2}}
    assert [call[1:] for call in client.policy.calls] == [("token", "work", False)] * 2
    assert client.world.session.used_at > client.world.clock.now().wall - 9


async def test_a_token_for_another_api_that_is_asked_for_stays_refreshed(client: Client) -> None:
    await client.result("token", account="work", audience=OTHER_API)
    client.ask(account="work", audience=OTHER_API)
    session, key = client.world.session, TokenKey(OTHER_API, "")
    interest = session.interest(key)
    assert interest is not None
    interest.token_replaced()
    assert client.ask(account="work", audience=OTHER_API)[0]
    assert interest.requested


# ---- what ends a reply


async def refresh(client: Client) -> None:
    await client.result("refresh", account="work")


async def log_out(client: Client) -> None:
    await client.result("logout", account="work")


async def lock(client: Client) -> None:
    await client.result("lock", keep_alive=True)


async def lock_store(client: Client) -> None:
    client.lock()
    client.world.session.revision += 1


async def deny(client: Client) -> None:
    client.policy.denies = True


async def reload(client: Client) -> None:
    client.world.table.configure(config(account(), account("home")))


async def remove(client: Client) -> None:
    client.world.table.configure(config(account("home")))


async def end(client: Client) -> None:
    advance(client, 3600)


async def leave_less_than_the_preferred_ttl(client: Client) -> None:
    advance(client, 3600 - 30)


async def set_the_clock_back(client: Client) -> None:
    clock_of(client).wall -= SKEW + 5


async def set_the_clock_on(client: Client) -> None:
    clock_of(client).wall += 3600


async def sleep(client: Client) -> None:
    clock_of(client).boot += 3600


def clock_of(client: Client) -> FakeClock:
    return client.world.clock


def advance(client: Client, seconds: float) -> None:
    clock_of(client).advance(seconds)


EVENTS: list[Callable[[Client], Awaitable[None]]] = [
    refresh,
    log_out,
    lock,
    lock_store,
    deny,
    reload,
    remove,
    end,
    leave_less_than_the_preferred_ttl,
    set_the_clock_back,
    set_the_clock_on,
    sleep,
]


@pytest.mark.parametrize("event", EVENTS)
async def test_a_reply_is_used_until_something_changes_what_it_hangs_on(
    client: Client, event: Callable[[Client], Awaitable[None]]
) -> None:
    client.ask(account="work")
    assert client.has(account="work")
    await event(client)
    assert not client.has(account="work")


async def test_after_a_refresh_the_new_token_is_returned(client: Client) -> None:
    before = client.ask(account="work")[1]["access_token"]
    await refresh(client)
    assert client.ask(account="work")[1]["access_token"] not in (before, None)
    assert client.ask(account="work")[0]


async def test_a_larger_min_ttl_is_not_served_what_is_too_short(client: Client) -> None:
    assert client.ask(account="work", min_ttl=1000)[1]["access_token"] == "at-2"
    advance(client, 3600 - 1000 - 2)
    assert client.has(account="work", min_ttl=1000)
    advance(client, 2)
    assert not client.has(account="work", min_ttl=1000)


async def test_nothing_is_served_after_the_ceiling() -> None:
    provider = FakeProvider()
    async with asking(provider) as client:
        now = client.world.clock.now().wall
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "iat": now, "exp": now + 3600}
        ceiling = jwt(**claims, session_expiry=now + AHEAD + LEEWAY)
        provider.script.append(token_response(id_token=ceiling))
        await client.world.log_in("rt-9")
        client.ask(account="work")
        advance(client, AHEAD - 10)
        assert client.has(account="work")
        clock_of(client).wall += 10
        assert not client.has(account="work")


async def test_where_a_refresh_ends_tokens_each_request_is_promised_one_for_itself() -> None:
    async with asking(work=account(refresh_ends_access_token=True)) as client:
        client.ask(account="work")
        assert not client.has(account="work")


@pytest.mark.parametrize("event", [refresh, log_out, lock, remove])
async def test_a_token_that_the_session_does_not_have_any_more_is_overwritten(
    client: Client, event: Callable[[Client], Awaitable[None]]
) -> None:
    table, now = client.world.table, client.world.clock.now()
    replies = Replies(table)
    reply = kept(replies, table, 1)
    assert b"secret-1" in reply.to(b"\x01", now)
    await event(client)
    assert b"secret-1" not in reply.to(b"\x01", now)
    assert replies.find(question(1), now) is None


async def test_another_accounts_change_leaves_a_reply(client: Client) -> None:
    replies = Replies(client.world.table)
    kept(replies, client.world.table, 1)
    client.world.table.publish("home")
    assert replies.find(question(1), client.world.clock.now()) is not None


async def test_beyond_a_mebibyte_the_oldest_are_overwritten(client: Client) -> None:
    table = client.world.table
    replies = Replies(table)
    first = kept(replies, table, 1)
    size = first.size + len(question(1))
    for number in range(2, MAX_KEPT // size + 3):
        kept(replies, table, number)
    now = table.clock.now()
    assert replies.find(question(1), now) is None
    assert b"secret-1" not in first.to(b"\x01", now)
    assert replies.find(question(MAX_KEPT // size), now) is not None


async def test_a_reply_that_is_kept_again_takes_the_place_of_the_one_before(client: Client) -> None:
    table = client.world.table
    replies = Replies(table)
    before = kept(replies, table, 1)
    other = kept(replies, table, 2)
    for _ in range(MAX_KEPT // before.size + 1):
        kept(replies, table, 1)
    now = table.clock.now()
    assert b"secret-1" not in before.to(b"\x01", now)
    assert replies.find(question(2), now) is other


async def test_replies_are_kept_after_a_reload_that_changed_no_account(client: Client) -> None:
    client.ask(account="work")
    assert client.world.table.configure(config(account(), account("home"))) == {
        "added": [],
        "changed": [],
        "removed": [],
    }
    assert not client.ask(account="work")[0]
    assert client.ask(account="work")[0]


async def test_short_replies_take_no_more_than_a_mebibyte_of_memory(client: Client) -> None:
    table = client.world.table
    replies = Replies(table)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(10_000):
            kept(replies, table, number, length=100)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before > MAX_KEPT / 2
    assert after - before < MAX_KEPT


async def test_a_long_request_is_not_kept(client: Client) -> None:
    for many, is_kept in ((10, True), (MAX_REQUEST // len("openid "), False)):
        scope = "openid " * many
        client.ask(account="work", scope=scope)
        assert client.has(account="work", scope=scope) is is_kept


# ---- the term


SECONDS = st.floats(0, 100_000)


@given(st.none() | SECONDS, st.none() | SECONDS, st.floats(-200, 100_000), st.floats(0, 100_000))
def test_in_its_term_a_token_is_good(lifetime: float | None, min_ttl: float | None, wall: float, boot: float) -> None:
    sent = Moment(NOON, 5000.0)
    token = AccessToken(Secret("at"), "Bearer", None, None, sent, lifetime, assumed=False, serial=1)
    now = Moment(sent.wall + wall, sent.boot + boot)
    # At the very end, it may still be good; the answer is then decided anew.
    assert token.is_good_for(min_ttl, now) or not token.term(min_ttl).has(now)
    earlier = Moment(now.wall - 0.01, now.boot - 0.01)
    assert token.term(min_ttl).has(earlier) or not token.is_good_for(min_ttl, now) or wall < 0.01 - SKEW


def kept(replies: Replies, table: Table, number: int, length: int = 1000) -> Any:
    session, now = table.session("work"), table.clock.now()
    basis = Repeatable({}, session, Term(now.wall, now.after(60)), None)
    response = RESPONSE + b"\x01\xc0" + f"secret-{number}".encode().ljust(length)
    replies.keep(Request(1, "token", {}, REQUEST + b"\x01" + question(number)), response, basis)
    reply = replies.find(question(number), now)
    assert reply is not None
    return reply


def question(number: int) -> bytes:
    return f"token {number:8}".encode()
