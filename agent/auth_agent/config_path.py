"""Where the configuration is; apart from what reads it, for completion, which must start fast."""

import os
from pathlib import Path

from auth_agent_client.errors import Misconfigured
from auth_agent_client.paths import config_directory


def config_path() -> Path:
    """Return the configuration's absolute path.

    `$AUTH_AGENT_CONFIG`, else `auth-agent/config.toml` where the platform keeps a user's configuration.

    Raises:
        Misconfigured: an environment variable can't be used.

    """
    chosen = os.environ.get("AUTH_AGENT_CONFIG")
    if not chosen:
        return Path(f"{config_directory()}/config.toml")
    try:
        return Path(chosen).absolute()
    except FileNotFoundError as error:
        text = f"AUTH_AGENT_CONFIG is {chosen!r}, which is relative to a working directory that was removed"
        raise Misconfigured(text) from error
