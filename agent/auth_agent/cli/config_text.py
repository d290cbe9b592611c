"""The configuration with all defaults, as JSON and as TOML."""

from collections.abc import Mapping
from typing import Any

from auth_agent.cli.account_details import account_json, shown_proxy
from auth_agent.config import Config
from auth_agent.toml_text import toml_key, toml_value


def config_json(config: Config) -> dict[str, Any]:
    """Return the configuration as a JSON object, without the passwords that the proxies' URLs may contain."""
    accounts = {name: account_json(account, config, None) for name, account in config.accounts.items()}
    for name, keys in accounts.items():
        del keys["name"], keys["state"]
        keys["proxy"] = shown_proxy(config.accounts[name])
    return {
        "accounts": accounts,
        "hosts": {
            rule.key: {"account": rule.account, "audience": rule.audience, "scope": rule.scope} for rule in config.hosts
        },
        "files": {
            file.key: {
                "account": file.account,
                "kind": file.kind,
                "audience": file.audience,
                "scope": file.scope,
                "mode": f"{file.mode:04o}",
                "command": file.command,
            }
            for file in config.files
        },
        "notify": {"desktop": config.notify.desktop, "command": config.notify.command},
    }


def config_toml(config: Config) -> str:
    """Return the same as TOML; keys without a value are left out."""
    content = config_json(config)
    tables = [
        _table(f"{kind}.{toml_key(name)}", keys)
        for kind in ("accounts", "hosts", "files")
        for name, keys in content[kind].items()
    ]
    return "\n".join([*tables, _table("notify", content["notify"])])


def _table(name: str, keys: Mapping[str, object]) -> str:
    lines = [f"{key} = {toml_value(value)}" for key, value in keys.items() if value not in (None, (), {}, [])]
    return "\n".join([f"[{name}]", *lines, ""])
