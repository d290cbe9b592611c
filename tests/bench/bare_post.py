"""The floor of a refresh: `httpx.AsyncClient` posts the same form to the same endpoint.

Run as a process of its own: `python -m tests.bench.bare_post URL COUNT CONNECTIONS` prints the processor time of one
request in µs. CONNECTIONS is "own", one for each request as the agent has, or "kept", one for all.
"""

import asyncio
import sys
import time
from typing import Final

import httpx

from tests.bench.stage import CLIENT_ID

OWN: Final = "own"
KEPT: Final = "kept"

# `quick_provider` takes such a refresh token again and again; its own are as long.
_REFRESH_TOKEN: Final = "alice.login.".ljust(53, "x")


async def _post(url: str, count: int, connections: str) -> float:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": _REFRESH_TOKEN}
    limits = httpx.Limits(max_keepalive_connections=0 if connections == OWN else 1)
    async with httpx.AsyncClient(trust_env=False, limits=limits) as client:
        await client.post(url, data=form)  # opens the connection that is kept
        start = time.process_time_ns()
        for _ in range(count):
            response = await client.post(url, data=form)
            response.raise_for_status()
        return (time.process_time_ns() - start) / count / 1e3


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(_post(sys.argv[1], int(sys.argv[2]), sys.argv[3]))}\n")
