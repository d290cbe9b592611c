"""`auth-agent run` for tests: the real agent, with what they name between its sessions and the world.

    python -m tests.faults.launcher --wrap tests.faults.traps:trapped_providers run --store keyring

What stands there is named as `module:name`: `--wrap` and `--wrap-store` what makes the one that stands before the
providers or the store from the one that is there, `--clock` what makes a clock. All else is as in `auth-agent run`.
"""

import argparse
import os
from pathlib import Path
from pkgutil import resolve_name

from auth_agent.config import config_path
from auth_agent.daemon import serve
from auth_agent.host.hardening import protect_memory
from auth_agent.host.limits import raise_limits
from auth_agent.host.restart import restart
from auth_agent.logs import log_to_stderr
from auth_agent.storage.stores import DEFAULT, NAMES
from auth_agent_client.paths import socket_path


def main() -> None:
    arguments = _arguments()
    named = {"wrap": arguments.wrap, "wrap_store": arguments.wrap_store}
    wraps = {place: resolve_name(name) for place, name in named.items() if name is not None}
    clock = None if arguments.clock is None else resolve_name(arguments.clock)()
    os.umask(0o077)
    protect_memory()
    raise_limits()
    log_to_stderr()
    if serve(config_path(), Path(socket_path()), arguments.store, clock=clock, **wraps):
        restart()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.launcher")
    parser.add_argument("--wrap", metavar="MODULE:NAME")
    parser.add_argument("--wrap-store", metavar="MODULE:NAME")
    parser.add_argument("--clock", metavar="MODULE:NAME")
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--store", choices=NAMES, default=DEFAULT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
