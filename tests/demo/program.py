"""A usual program: `python -m tests.demo.program ACCOUNT URL` requests its user from URL repeatedly.

All its OAuth is in `send_request`: it gets a token from the agent each time, and stores or refreshes none.
"""

import sys
import time
from dataclasses import replace
from http import HTTPStatus
from typing import NoReturn

import httpx

from auth_agent_client import Agent, AgentError
from tests.demo.request import Request

PAUSE = 0.2  # s, between two requests


def send_request(agent: Agent, http: httpx.Client, account: str, url: str) -> Request:
    """Send a request, and repeat it with another token if the first one was rejected."""
    began = time.perf_counter()
    token = agent.token(account)
    request = Request(agent=time.perf_counter() - began, token=token.expires_at)

    began = time.perf_counter()
    response = http.get(url, headers={"Authorization": token.authorization})
    request = replace(request, provider=time.perf_counter() - began)

    if response.status_code == HTTPStatus.UNAUTHORIZED:
        request = replace(request, refused=True)
        try:
            token = agent.rejected(token.access_token, account)
        except AgentError as error:
            return replace(request, failure=f"the token was refused, and {error.message}")
        response = http.get(url, headers={"Authorization": token.authorization})
    return request if response.is_success else replace(request, failure=f"the provider answered {response.status_code}")


def main(account: str, url: str) -> NoReturn:
    """Send requests until ended, and write the result of each; the closed pipe of an ended demo ends it too."""
    with Agent() as agent, httpx.Client(trust_env=False) as http:
        while True:
            began = time.perf_counter()
            try:
                request = send_request(agent, http, account, url)
            except (AgentError, httpx.TransportError) as error:
                request = Request(agent=time.perf_counter() - began, failure=f"{type(error).__name__}: {error}")
            sys.stdout.write(request.line())
            sys.stdout.flush()
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
