"""A program as anybody writes one: `python -m tests.demo.program ACCOUNT URL` asks URL, again and again, who it is.

All that it does about OAuth is in `ask`: it takes a token from the agent each time, keeps none, and renews none.
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


def ask(agent: Agent, http: httpx.Client, account: str, url: str) -> Request:
    """Ask once, and once more with another token where the first one was refused."""
    began = time.perf_counter()
    token = agent.token(account)
    request = Request(agent=time.perf_counter() - began, token=token.expires_at)

    began = time.perf_counter()
    answer = http.get(url, headers={"Authorization": token.authorization})
    request = replace(request, provider=time.perf_counter() - began)

    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        request = replace(request, refused=True)
        try:
            token = agent.rejected(token.access_token, account)
        except AgentError as error:
            return replace(request, failure=f"the token was refused, and {error.message}")
        answer = http.get(url, headers={"Authorization": token.authorization})
    return request if answer.is_success else replace(request, failure=f"the provider answered {answer.status_code}")


def main(account: str, url: str) -> NoReturn:
    """Ask until ended, and say how each request went; a demo that has gone ends it too, by its closed pipe."""
    with Agent() as agent, httpx.Client(trust_env=False) as http:
        while True:
            began = time.perf_counter()
            try:
                request = ask(agent, http, account, url)
            except (AgentError, httpx.TransportError) as error:
                request = Request(agent=time.perf_counter() - began, failure=f"{type(error).__name__}: {error}")
            sys.stdout.write(request.line())
            sys.stdout.flush()
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
