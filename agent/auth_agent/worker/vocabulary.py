"""The words that both ends of the worker's socket use. It imports no library, to save the agent's memory."""

from typing import Final

# Keyring backends, by class name.
SECRET_SERVICE: Final = "keyring.backends.SecretService.Keyring"  # noqa: S105 -- a class
MACOS: Final = "keyring.backends.macOS.Keyring"

# Programs that are the Secret Service, whose help differs.
KEEPASSXC: Final = "keepassxc"
KWALLETD5: Final = "kwalletd5"
KWALLETD6: Final = "kwalletd6"
KSECRETD: Final = "ksecretd"

# The purposes of a worker, which decide what calls it has.
KEYRING: Final = "keyring"
SIGNATURES: Final = "signatures"
NOTIFICATIONS: Final = "notifications"
SEALING: Final = "sealing"

# The kinds of failure.
LOCKED: Final = "locked"
MISSING: Final = "missing"
NO_BUS: Final = "no_bus"  # missing, too: there is no D-Bus session on which a service could appear
FAILED: Final = "failed"
FULL: Final = "full"  # the disk
DAMAGED: Final = "damaged"
WRONG_PASSPHRASE: Final = "wrong_passphrase"  # noqa: S105 -- a word

# Bytes of a passphrase in UTF-8; more than anybody types, or a manager of passwords makes.
PASSPHRASE_MAX: Final = 1024
