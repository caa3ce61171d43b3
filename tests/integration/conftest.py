"""A browser for the tests that look at pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP = {"width": 1280, "height": 860}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # The function's tests also run where no browser's library is installed.
    from tests.support.gallery import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, and fails the test where one logs what is not ``expected``, opens a dialog or asks another host."""
    from tests.support.gallery import wait_ready

    problems: list[str] = []
    contexts = []

    def open_page(
        url: str,
        viewport: dict[str, int] = DESKTOP,
        *,
        ready: Callable[[Page], None] = wait_ready,
        expected: str = "\0",
        **options: Any,
    ) -> Page:
        context = browser.new_context(viewport=viewport, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.extend([] if expected in message.text else [message.text]))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
        allowed = ("file:", "data:", "blob:", url.partition("#")[0])
        page.on("request", lambda request: problems.extend([] if request.url.startswith(allowed) else [request.url]))
        page.goto(url)
        ready(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
