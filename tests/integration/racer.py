"""One process of the race: requests tokens without pause, and sends every twentieth to the provider.

    racer.py SOCKET USERINFO_URL SECONDS

Prints the numbers and failures as JSON.
"""

import http.client
import json
import sys
import time
from urllib.parse import urlsplit

from auth_agent_client import Agent, AgentError


def main(socket: str, userinfo: str, seconds: float) -> None:
    address = urlsplit(userinfo)
    provider = http.client.HTTPConnection(address.netloc, timeout=60)
    tokens = requests = 0
    failures: list[str] = []
    end = time.monotonic() + seconds
    with Agent(socket) as agent:
        while time.monotonic() < end:
            try:
                token = agent.token("work")
            except AgentError as error:
                failures.append(f"{error.code}: {error.message}")
                continue
            tokens += 1
            if tokens % 20 == 0:
                requests += 1
                provider.request("GET", address.path, headers={"Authorization": token.authorization})
                response = provider.getresponse()
                response.read()
                left = (token.expires_at or 0.0) - time.time()
                if response.status != http.client.OK and left > 1.0:  # the provider counts whole seconds
                    failures.append(f"userinfo: {response.status}, {left:.2f} s left")
    provider.close()
    json.dump({"tokens": tokens, "userinfo": requests, "failures": failures[:20]}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
