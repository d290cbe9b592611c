"""Format one account for `auth-agent account show`: its keys, its session, and what refers to it."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from auth_agent.cli.account_options import IDENTITY
from auth_agent.cli.screen import shown_path
from auth_agent.cli.terminal import PLAIN, Piece, Terminal, columns
from auth_agent.config import Account, Config
from auth_agent.printable import printable
from auth_agent.proxies import parse_proxy
from auth_agent_client import Record

_MAX_VALUE: Final = 2000  # characters
_LISTED: Final = 1000  # characters of the hosts', files' or accounts' names


# Keys of which no value is the default one.
_OWN: Final = (*IDENTITY, "default")


def account_json(account: Account, config: Config, state: str | None) -> dict[str, Any]:
    """Return an account as a JSON object, without its proxy, whose URL may contain a password.

    `default` is true for the account that a command uses if it names none, also if the file doesn't mark it.
    """
    shown = (key for key in fields(account) if key.repr)
    return {
        **{key.metadata.get("key", key.name): getattr(account, key.name) for key in shown},
        "default": account is config.default,
        "grant": account.grant_type.name,
        "authorize": dict(account.authorize),
        "token_parameters": dict(account.token_parameters),
        "token_headers": dict(account.token_headers),
        "require_claims": dict(account.require_claims),
        "state": state,
    }


def details_json(account: Account, config: Config, record: Record | None) -> dict[str, Any]:
    """Return an account, what refers to it, and the record of its session as a JSON object."""
    return {
        **account_json(account, config, None if record is None else record.state),
        "proxy": shown_proxy(account),
        "hosts": list(dict.fromkeys(rule.key for rule in config.hosts_of(account.name))),
        "files": [file.path for file in config.files_of(account.name)],
        "management_account_of": list(config.managed_by(account.name)),
        "session": record,
    }


def details_lines(
    account: Account, config: Config, record: Record | None, *, running: bool, terminal: Terminal = PLAIN
) -> list[str]:
    """Return the lines of `auth-agent account show`; `running`: whether an agent answers."""
    keys = {**account_json(account, config, None), "proxy": shown_proxy(account)}
    del keys["name"], keys["state"]
    keys["redirect_path"] = account.redirect_path or '""'
    usual = account_json(_with_defaults(account), config, None)
    rows = [
        (name, _pieces(value, is_default=name not in _OWN and value == usual.get(name))) for name, value in keys.items()
    ]
    rows.append(("session", [Piece(_session(record, running=running))]))
    hosts = printable(", ".join(dict.fromkeys(rule.key for rule in config.hosts_of(account.name))), _LISTED)
    files = printable(", ".join(file.path for file in config.files_of(account.name)), _LISTED)
    managed = printable(", ".join(config.managed_by(account.name)), _LISTED)
    rows.extend(
        (name, [Piece(text)]) for name, text in (("hosts", hosts), ("files", files), ("manages", managed)) if text
    )
    width = max(columns(name) for name, _ in rows)
    lines = terminal.wrap(
        f"{terminal.styled(account.name, 'strong')}  ", [Piece(printable(shown_path(config.path), _LISTED))]
    )
    for name, pieces in rows:
        head = f"  {terminal.styled(name, 'label')}{' ' * (width - columns(name))}  "
        lines += terminal.wrap(head, pieces)
    return lines


def _with_defaults(account: Account) -> Account:
    """Return the account as if the file had only its issuer, client and grant type."""
    grant_type = account.grant_type
    return Account(
        account.name, account.issuer, account.client_id, scope=grant_type.default_scope, grant_type=grant_type
    )


def _pieces(value: object, *, is_default: bool) -> list[Piece]:
    if value is None or value in ((), {}, ""):
        return [Piece("not set", "off")]
    if isinstance(value, bool):
        return [Piece("yes" if value else "no")]
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}={item}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType] -- the parameters for `authorize`
    elif isinstance(value, tuple):
        text = ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType] -- `redirect_ports`
    else:
        text = str(value)
    return [Piece(printable(text, _MAX_VALUE)), *([Piece("(default)", "off", whole=True)] if is_default else [])]


def _session(record: Record | None, *, running: bool) -> str:
    if not running:
        return "unknown: no agent is running"
    if record is None:
        return "unknown: the agent reads another configuration"
    user = printable(record.name) or printable(record.subject)
    return f"{printable(record.state).replace('_', ' ')}{f' ({user})' if user else ''}"


def shown_proxy(account: Account) -> str | None:
    """Return the URL of the account's proxy without user and password."""
    return None if account.proxy is None else parse_proxy(account.proxy).url
