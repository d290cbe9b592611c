"""A real browser: Debian's Chromium, without a window."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, Playwright, expect, sync_playwright

from tests.integration.agent_process import PATIENCE
from tests.op.install import node_command

# As root it runs without its sandbox only; what it opens here is on this machine.
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server")
_NAMES = ("chromium", "chromium-browser", "google-chrome")

Scheme = Literal["light", "dark"]


def chromium() -> str:
    """Return its path; skip the test if there is none."""
    result = next(filter(None, map(shutil.which, _NAMES)), None)
    if result is None:
        pytest.skip("there is no browser to test with: apt-get install chromium")
    return result


@contextmanager
def _playwright() -> Generator[Playwright, None, None]:
    # Its own Node.js wants a library that small systems lack (libatomic); the provider's runs wherever this is tested.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAYWRIGHT_NODEJS_PATH", node_command()[0])
        with sync_playwright() as playwright:
            yield playwright


@contextmanager
def browser(scheme: Scheme = "light", width: int = 800, *, javascript: bool = True) -> Generator[Page, None, None]:
    """Open a page in a new browser, without cookies."""
    with _playwright() as playwright:
        timeout = PATIENCE * 1000  # ms
        options: dict[str, Any] = {"executable_path": chromium(), "args": list(_ARGUMENTS), "timeout": timeout}
        with playwright.chromium.launch(**options) as running:
            expect.set_options(timeout=timeout)
            context = running.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=javascript
            )
            context.set_default_timeout(timeout)
            yield context.new_page()


def picture(page: Page, name: str) -> None:
    """Save a picture of the page if the environment names a directory for pictures."""
    directory = os.environ.get("SCREENSHOTS")
    if directory is not None:
        page.screenshot(path=f"{directory}/{name}.png", full_page=True)
