"""Where the configuration is; apart from what reads it, for completion, which must start fast."""

import os
from pathlib import Path

import platformdirs


def config_path() -> Path:
    """`$AUTH_AGENT_CONFIG`, else `auth-agent/config.toml` where the platform keeps a user's configuration."""
    chosen = os.environ.get("AUTH_AGENT_CONFIG")
    return Path(chosen) if chosen else platformdirs.user_config_path("auth-agent") / "config.toml"
