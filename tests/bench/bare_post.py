"""The floor of a refresh: `httpx.AsyncClient` posts the same form to the same endpoint, over one connection.

Run as a process of its own: `python -m tests.bench.bare_post URL COUNT` prints the processor time of one request in µs.
"""

import asyncio
import sys
import time

import httpx

from tests.bench.accounts import CLIENT_ID
from tests.bench.refresh_provider import EXAMPLE


async def _post(url: str, count: int) -> float:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": EXAMPLE}
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.post(url, data=form)  # opens the connection
        start = time.process_time_ns()
        for _ in range(count):
            response = await client.post(url, data=form)
            response.raise_for_status()
        return (time.process_time_ns() - start) / count / 1e3


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(_post(sys.argv[1], int(sys.argv[2])))}\n")
