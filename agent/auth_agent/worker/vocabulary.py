"""What both ends of the worker's socket call things. Imports nothing: the agent's end does without the libraries."""

from typing import Final

# The classes of keyrings.
SECRET_SERVICE: Final = "keyring.backends.SecretService.Keyring"  # noqa: S105 -- a class
MACOS: Final = "keyring.backends.macOS.Keyring"

# What a worker is for; it has the calls for that and no others.
KEYRING: Final = "keyring"
SIGNATURES: Final = "signatures"

# What a call came to, where it failed.
LOCKED: Final = "locked"
MISSING: Final = "missing"
FAILED: Final = "failed"
