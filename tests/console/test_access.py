"""Every page is usable by keyboard, with a screen reader, in dark colors, at 360 pixels and without JavaScript."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser import artefacts, axe
from conftest import NARROW
from endpoints import wait_until
from saas import Saas

PAGES = {
    "tenants": "/tenants",
    "tenants-none": "/tenants?q=no-such-tenant",
    "onboard": "/onboard",
    "onboard-preview": "/onboard?tenant=tenant-9&tier=advanced&release=0.0",
    "tenant": "/tenants/tenant-3",
    "tenant-offboard": "/tenants/tenant-3/change?action=offboard",
    "tenant-move": "/tenants/tenant-1/change?action=move&tier=basic",
    "pools": "/pools",
    "deployments": "/deployments",
    "operations": "/operations",
    "activity": "/activity",
    "health": "/health",
    "not-found": "/no-such-page",
    # Pages of one operation, deployment or commit, with the id from `made`.
    "operation": "/operations/{operation}",
    "deployment": "/deployments/{deployment}",
    "commit": "/activity/{commit}",
}


@pytest.fixture(scope="session")
def made(saas: Saas) -> dict[str, str]:
    """Ids of an operation, a deployment and a commit."""
    plan = {"tier": "premium", "release": "0.0", "waves": [{"canary": ["tenant-1"]}, "rest"], "bake_seconds": 3600}
    deployment = saas.api("/deployments", plan)["id"]
    operation = saas.api("/tenants", {"id": "tenant-seen", "tier": "basic", "release": "0.0"})
    return {"deployment": deployment, "operation": operation["id"], "commit": operation["commit"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_the_page_is_kept_as_a_screenshot(
    pages: Any, made: dict[str, str], name: str, scheme: str
) -> None:
    page = pages(PAGES[name].format(**made), color_scheme=scheme, reduced_motion="reduce")
    if name == "not-found":
        expect(page.get_by_role("alert")).to_be_visible()
    page.screenshot(path=artefacts() / f"{name}-{scheme}.png", full_page=True)
    page.evaluate(axe())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_360_pixels_without_scrolling_sideways(pages: Any, made: dict[str, str], name: str) -> None:
    page = pages(PAGES[name].format(**made), viewport=NARROW)
    page.screenshot(path=artefacts() / f"{name}-narrow.png", full_page=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_the_same_without_javascript(pages: Any, made: dict[str, str], name: str) -> None:
    with_it, without = pages(PAGES[name].format(**made)), pages(PAGES[name].format(**made), java_script_enabled=False)
    for page in (with_it, without):
        expect(page.locator("main h1")).to_be_visible()
    headings = [page.locator("main h1, main h2").all_inner_texts() for page in (with_it, without)]
    assert headings[0] == headings[1]
    expect(without.locator("#live-state")).to_have_text("reload to update")


def test_the_forms_work_without_javascript(pages: Any, saas: Saas) -> None:
    page = pages("/onboard", java_script_enabled=False)
    page.get_by_label("Id", exact=True).fill("tenant-plain")
    page.get_by_label("basic").check()
    page.get_by_role("button", name="Preview the commit").click()
    page.get_by_role("button", name="Onboard tenant-plain").click()
    expect(page).to_have_url(re.compile("/console/operations/"))

    def ended() -> bool:
        page.reload()
        return page.locator("#head .state").inner_text() == "serving"

    wait_until(ended, "the operation has ended", 180)
    assert saas.serves("tenant-plain")


def test_a_tenant_is_found_and_a_change_is_begun_by_keyboard_alone(pages: Any) -> None:
    page = pages("/tenants")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "Id contains")
    page.keyboard.type("tenant-3")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=tenant-3"))
    expect(page.locator("tbody tr")).to_have_count(1)
    tab_to(page, "tenant-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("tenant-3")
    tab_to(page, "Suspend…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Suspend tenant-3")).to_be_visible()
    tab_to(page, "Suspend tenant-3")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is visible"


def test_a_live_update_keeps_focus_and_typed_text(pages: Any, saas: Saas) -> None:
    page = pages("/tenants/tenant-3")
    expect(page.locator("#live-state")).to_have_attribute("data-live", "on")
    link = page.get_by_role("link", name="Peek at the queue")
    link.focus()
    sent = saas.request("tenant-3", "/producer", {"order": 8})["message_id"]
    expect(page.locator(f"#m-{sent}")).to_be_visible()
    expect(link).to_be_focused()


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the element with this name, or with this label, has the focus."""
    for _ in range(80):
        focused = page.evaluate(
            "() => { const at = document.activeElement; return (at.labels?.[0] ?? at).textContent.trim(); }"
        )
        if focused == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no element {name!r} within 80 presses of Tab")
