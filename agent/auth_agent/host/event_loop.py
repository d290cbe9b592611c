"""asyncio's event loop, in which a name whose look-up hangs delays no other name.

Theory of operation. getaddrinfo(3) may take minutes, such as for a name that only a VPN knows while it is down, and
can't be cancelled. asyncio calls it in a few threads that all share: a few such names use them up. Here each look-up
has a thread of its own, and all who look up the same host and port share it. So a provider has one thread at most for
each host and port that its metadata names.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any, Final, TypeAlias

from auth_agent.promise import Promise

# What `socket.getaddrinfo` returns.
_Found: TypeAlias = list[tuple[Any, ...]]
_NO_THREAD: Final = "no thread can be started to look it up"


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop; see above."""

    def __init__(self) -> None:
        super().__init__()
        self._look_ups: dict[tuple[object, ...], Promise[_Found]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 -- asyncio's
        proto: int = 0,
        flags: int = 0,
    ) -> _Found:
        """Look a host up, as `socket.getaddrinfo` does.

        Raises:
            OSError: it has no address, or that is not known now.

        """
        wanted = (host, port, family, type, proto, flags)
        look_up = self._look_ups.get(wanted)
        if look_up is None:
            look_up = self._look_ups[wanted] = Promise[_Found]()
            try:
                # A daemon: an agent that ends doesn't wait for it.
                threading.Thread(target=self._look_up, args=(wanted, look_up), name="look-up", daemon=True).start()
            except RuntimeError as error:
                self._end(wanted, look_up, OSError(_NO_THREAD).with_traceback(error.__traceback__))
        return await look_up.wait()

    def _look_up(self, wanted: tuple[Any, ...], look_up: Promise[_Found]) -> None:
        """Look up in a thread. It must not raise: somebody waits."""
        result: _Found | Exception
        try:
            result = socket.getaddrinfo(*wanted)
        except Exception as error:  # noqa: BLE001 -- raised again where it is waited for
            result = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.call_soon_threadsafe(self._end, wanted, look_up, result)

    def _end(self, wanted: tuple[Any, ...], look_up: Promise[_Found], result: _Found | Exception) -> None:
        del self._look_ups[wanted]
        if isinstance(result, Exception):
            look_up.fail(result)
        else:
            look_up.resolve(result)
