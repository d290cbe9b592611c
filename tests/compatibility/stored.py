"""Writes entries and notes with the code of the first version, which `record` runs this with.

Its modules are imported by their names then, so that no checker looks for those names in today's.
"""

import shutil
import sys
import tempfile
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio

from auth_agent_client import __version__

config, clock = import_module("auth_agent.config"), import_module("auth_agent.host.clock")
secret, profile = import_module("auth_agent.secret"), import_module("auth_agent.sessions.profile")
entry, state = import_module("auth_agent.sessions.entry"), import_module("auth_agent.sessions.state")
daemon, keyring = import_module("auth_agent.daemon"), import_module("auth_agent.storage.keyring")

BOOT = "the boot of the first version"
THEN = clock.Moment(1_800_000_000.25, 5_000.5)


def main(data: Path) -> None:
    """Write them there."""
    assert __version__ == "0.1.0"
    (data / "entries").mkdir()
    for account, kept in entries().items():
        text: str = entry.dump(account, kept, BOOT).reveal()
        (data / "entries" / f"{account}.json").write_text(f"{text}\n")
    # In the keychain of macOS an account has two items, the newer of which has the higher number.
    numbered: str = keyring._with_number(entry.dump("numbered", entries()["logged-in"], BOOT).reveal(), 7)  # noqa: SLF001 -- what the first version's `write` calls
    (data / "entries" / "numbered.json").write_text(f"{numbered}\n")
    with tempfile.TemporaryDirectory() as temporary:
        state_path = Path(temporary) / "state"
        store, journal = daemon._store(state_path, Path(temporary) / "agent.sock")  # noqa: SLF001 -- what knows where the notes are
        anyio.run(write_notes, journal)
        store._remember()  # noqa: SLF001 -- what its `read` and `write` call
        for note in state_path.rglob("*.json"):  # not the locks
            place = data / "state" / note.relative_to(state_path)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(note, place)


def entries() -> dict[str, Any]:
    """Return what a store may hold, by account."""
    person = made_login("person")
    robot = state.Login(
        "https://acme.example/",
        "service-app",
        "https://api.acme.example",
        None,
        None,
        None,
        None,
        secret.Secret("made-up client secret of the robot"),
        grant=config.CLIENT_CREDENTIALS,
    )
    who = profile.Profile(
        {"sub": "auth0|alice", "name": "Alice Ä", "email_verified": True, "roles": ["admin", 1, None]},
        THEN.wall,
        "a digest of what the ID token said",
    )
    ended = state.LoginRequired("invalid_grant: Unknown or invalid refresh token.", _without_refresh_token(person))
    to_be_seen = state.LoginRequired("interaction_required: please log in", person)
    another_user = state.LoginRequired("the tokens of another user", person, quarantined=True)
    least = state.Login("https://acme.example/", "native-app", None, None, None, None, None)
    return {
        "logged-in": entry.Kept(active(person), 3, 17, THEN.wall, "a logout's name", who),
        "robot": entry.Kept(active(robot), 1, 40, THEN.wall, None, None),
        "ended": entry.Kept(ended, 2, 5, THEN.wall, None, who),
        "to-be-seen": entry.Kept(to_be_seen, 2, 5, THEN.wall, None, None),
        "quarantined": entry.Kept(another_user, 2, 5, THEN.wall, None, None),
        "without-token": entry.Kept(state.Active(person, MappingProxyType({})), 0, 0, None, None, None),
        "least": entry.Kept(state.Active(least, MappingProxyType({})), 0, 0, None, None, None),
        # Those that the notes are about.
        "interrupted": entry.Kept(active(made_login("interrupted")), 1, 1, THEN.wall, None, None),
        "rotated": entry.Kept(active(made_login("rotated")), 1, 1, THEN.wall, None, None),
        "logged-out": entry.Kept(active(made_login("logged-out")), 1, 1, THEN.wall, None, None),
    }


def made_login(account: str) -> Any:
    """A person's login, with everything that one may have."""
    return state.Login(
        "https://acme.example/",
        "native-app",
        "https://api.acme.example",
        "auth0|alice",
        "Alice Ä",
        secret.Secret(f"made-up refresh token of {account}"),
        secret.Secret(f"made-up ID token of {account}"),
        secret.Secret(f"made-up client secret of {account}"),
        ends_at=1_900_000_000.5,
    )


def _without_refresh_token(login: Any) -> Any:
    return state.replace(login, refresh_token=None)


def active(login: Any) -> Any:
    """Logged in so, with an access token."""
    token = state.AccessToken(
        secret.Secret("made-up access token"),
        "Bearer",
        "openid offline_access read:things",
        "https://api.acme.example",
        THEN,
        86_400.0,
        assumed=True,
        serial=0,
    )
    return state.Active(login, MappingProxyType({state.MAIN: token}))


def digest(text: str) -> str:
    """How a note names a refresh token."""
    return sha256(text.encode()).hexdigest()


async def write_notes(notes: Any) -> None:
    """Write the notes of three accounts."""
    # Sent, and killed before the response was saved.
    now = digest("made-up refresh token of interrupted")
    await notes.sent("interrupted", now, THEN.wall, now)
    # Sent, and its successor saved.
    before, after = digest("made-up refresh token of rotated, the first"), digest("made-up refresh token of rotated")
    await notes.sent("rotated", before, THEN.wall, before)
    await notes.saved("rotated", after, None, [before])
    # Logged out, and killed before the entry was deleted.
    await notes.bury("logged-out", "the name of a later logout")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
