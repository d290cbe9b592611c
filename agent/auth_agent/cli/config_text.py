"""The configuration as TOML, with all defaults."""

from collections.abc import Mapping
from typing import Final

from auth_agent.cli.account_details import account_json, without_password
from auth_agent.config import Config
from auth_agent.toml_text import toml_key, toml_value

# What `account_json` adds to an account's keys.
_NOT_KEYS: Final = ("name", "state")


def config_toml(config: Config) -> str:
    """Return the configuration as TOML; keys without a value are left out, and so is the password of a proxy."""
    tables: list[tuple[str, Mapping[str, object]]] = []
    for name, account in config.accounts.items():
        keys = {**account_json(account, config, None), "proxy": without_password(account.proxy)}
        tables.append(
            (f"accounts.{toml_key(name)}", {key: value for key, value in keys.items() if key not in _NOT_KEYS})
        )
    for rule in config.hosts:
        keys = {"account": rule.account, "audience": rule.audience, "scope": rule.scope}
        tables.append((f"hosts.{toml_key(rule.key)}", keys))
    notify = {"desktop": config.notify.desktop, "command": config.notify.command}
    tables.append(("notify", notify))
    return "\n".join(_table(name, keys) for name, keys in tables)


def _table(name: str, keys: Mapping[str, object]) -> str:
    lines = [f"{key} = {toml_value(value)}" for key, value in keys.items() if value not in (None, (), {}, [])]
    return "\n".join([f"[{name}]", *lines, ""])
