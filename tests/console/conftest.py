"""A running `local`, and pages of its console in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from browser import artefacts, launch
from saas import Saas

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def saas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saas]:
    """`local`, shared by the tests. Each test changes tenants of its own."""
    saas = Saas(tmp_path_factory.mktemp("saas"))
    yield saas
    saas.stop()


@pytest.fixture
def pages(browser: Browser, saas: Saas, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens pages of the console. Every page is watched: the test fails if one has an error or calls another host."""
    contexts, wrong = [], []

    def open_page(path: str = "", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "base_url": saas.console, **settings})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
        page.on("request", lambda sent: wrong.append(sent.url) if not sent.url.startswith(origin) else None)
        page.goto(saas.console + path)
        return page

    origin = saas.console.removesuffix("/console")
    yield open_page
    if request.node.stash.get(FAILED, False):
        for number, context in enumerate(contexts):
            for page in context.pages:
                page.screenshot(path=artefacts() / f"failed-{request.node.name}-{number}.png")
    for context in contexts:
        context.close()
    assert not wrong


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def page(pages: Any) -> Page:
    return pages("/tenants")
