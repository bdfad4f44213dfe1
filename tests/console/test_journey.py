"""Journeys of a person through the pages: onboarding, changes, deployments, offboarding."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser import artefacts
from saas import Saas

SERVED_WITHIN = 180_000
"""Milliseconds; an onboarding takes about two seconds on a quiet machine, and half a minute on a busy one."""


def onboard(page: Page, saas: Saas, tenant: str, tier: str) -> None:
    page.goto(saas.console + "/onboard")
    page.get_by_label("Id", exact=True).fill(tenant)
    page.get_by_role("radio", name=re.compile(f"^{tier}")).check()
    page.get_by_role("button", name="Preview the commit").click()
    page.get_by_role("button", name=f"Onboard {tenant}").click()
    expect(state(page)).to_have_text("serving", timeout=SERVED_WITHIN)


def state(page: Page) -> Any:
    """The state in the head of an operation's or a tenant's page."""
    return page.locator("#head .state")


def change(page: Page, saas: Saas, tenant: str, action: str) -> None:
    page.goto(f"{saas.console}/tenants/{tenant}")
    page.get_by_role("link", name=f"{action}…").click()


def test_onboarding_shows_the_commit_first_and_ends_when_the_tenant_answers(page: Page, saas: Saas) -> None:
    page.get_by_role("link", name="Onboard a tenant").click()
    page.get_by_label("Id", exact=True).fill("tenant-journey")
    page.get_by_role("radio", name=re.compile("^premium")).check()
    page.get_by_role("button", name="Preview the commit").click()
    preview = page.get_by_role("region", name="changed lines of the commit")
    expect(preview).to_contain_text("tenants/premium/tenant-journey.yaml")
    expect(preview.locator(".added").first).to_be_visible()
    assert not saas.serves("tenant-journey"), "a preview changes nothing"

    page.get_by_role("button", name="Onboard tenant-journey").click()
    expect(page).to_have_url(re.compile("/console/operations/"))
    expect(state(page)).to_have_text("serving", timeout=SERVED_WITHIN)
    for step in ("accepted", "committed", "applied", "serving"):
        expect(page.locator(".steps li.done", has_text=step)).to_be_visible()
    assert saas.serves("tenant-journey"), "the operation ended once the tenant answered"
    page.get_by_role("link", name="Open tenant-journey").click()
    expect(state(page)).to_have_text("serving")


def test_an_id_that_is_not_valid_is_refused_with_a_sentence_and_the_form_keeps_its_values(
    page: Page, saas: Saas
) -> None:
    page.goto(saas.console + "/onboard")
    page.get_by_label("Id", exact=True).fill("Tenant_9")
    page.get_by_role("radio", name=re.compile("^basic")).check()
    page.get_by_role("button", name="Preview the commit").click()
    expect(page.get_by_role("alert")).to_contain_text("Tenant_9")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    expect(page.get_by_label("Id", exact=True)).to_have_value("Tenant_9")
    expect(page.get_by_role("radio", name=re.compile("^basic"))).to_be_checked()


def test_an_onboarding_that_is_committed_already_has_nothing_to_press(page: Page, saas: Saas) -> None:
    page.goto(saas.console + "/onboard")
    page.get_by_label("Id", exact=True).fill("tenant-2")
    page.get_by_role("radio", name=re.compile("^basic")).check()
    page.get_by_role("button", name="Preview the commit").click()
    expect(page.locator("#outcome")).to_contain_text("The repository is in this state already")
    expect(page.get_by_role("button", name="Onboard tenant-2")).to_have_count(0)
    expect(page.get_by_role("link", name="Open tenant-2")).to_be_visible()
    # Another tier is a move: one sentence says so, without the words of the API.
    page.get_by_role("radio", name=re.compile("^premium")).check()
    page.get_by_role("button", name="Preview again").click()
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).not_to_contain_text("Conflict:")
    expect(page.get_by_role("alert")).to_be_in_viewport()


def test_an_open_page_is_no_traffic_of_the_tenant(pages: Any, saas: Saas) -> None:
    page = pages("/tenants/tenant-2")
    live = page.locator("#live-state")
    expect(live).to_have_attribute("data-live", "on")
    before = saas.listings()
    for _ in range(5):
        page.reload()
        expect(live).to_have_attribute("data-live", "on")
    assert saas.listings() == before, "nothing was written, so no list is read again"
    sent = saas.request("tenant-2", "/producer", {"order": 1})["message_id"]
    expect(page.locator(f"#m-{sent}")).to_be_visible()
    assert saas.listings() > before


def test_a_message_is_seen_within_a_second_of_its_answer_without_a_reload(pages: Any, saas: Saas) -> None:
    page = pages("/tenants/tenant-3")
    expect(page.locator("#live-state")).to_have_attribute("data-live", "on")
    page.evaluate("window.loaded = true")
    # The page itself records when a message appears, so that the test's own delays do not count.
    page.evaluate(
        """() => {
            window.seen = {};
            new MutationObserver(() => {
                for (const row of document.querySelectorAll("#messages tbody tr")) window.seen[row.id] ??= Date.now();
            }).observe(document.getElementById("messages"), { childList: true, subtree: true });
        }"""
    )
    taken = []
    for order in range(5):
        page.evaluate("window.before = Date.now()")
        answer = saas.request("tenant-3", "/producer", {"order": order})
        row = f"m-{answer['message_id']}"
        page.wait_for_function("row => window.seen[row]", arg=row)
        taken.append(page.evaluate("row => window.seen[row] - window.before", row))
    assert page.evaluate("window.loaded"), "the page was not loaded again"
    assert min(taken) < 1000, f"milliseconds from request to row: {taken}"
    print(f"milliseconds from request to row: {taken}")


@pytest.mark.parametrize("javascript", [True, False])
def test_a_try_button_sends_its_request_and_shows_line_and_answer(pages: Any, javascript: bool) -> None:
    page = pages("/tenants/tenant-2", java_script_enabled=javascript)
    for part, button in (("#messages", "Send a message"), ("#payments", "Charge 12.50 EUR")):
        # What the hint of an empty list names is above the list.
        assert page.locator(part).bounding_box()["y"] > page.get_by_role("button", name=button).bounding_box()["y"]
        expect(page.locator(part)).not_to_contain_text("below")
    send = page.locator("#try-send")
    expect(send.locator("pre").first).to_contain_text("curl -s -H 'tenantID: tenant-2' -d '{\"order\":7}'")
    send.get_by_role("button", name="Send a message").click()
    expect(send.get_by_role("status")).to_contain_text("200 OK")
    expect(send.get_by_role("status")).to_contain_text('"message_id"')
    charge = page.locator("#try-charge")
    charge.get_by_role("button").click()
    expect(charge.get_by_role("status")).to_contain_text("201 Created")
    expect(charge.get_by_role("status")).to_contain_text('"recorded"')


def test_a_move_takes_the_tenant_to_another_tier_with_its_messages(page: Page, saas: Saas) -> None:
    onboard(page, saas, "tenant-moves", "premium")
    sent = saas.request("tenant-moves", "/producer", {"order": 1})["message_id"]
    change(page, saas, "tenant-moves", "Move")
    page.get_by_role("radio", name=re.compile("^basic")).check()
    page.get_by_role("button", name="Preview the commit").click()
    page.get_by_role("button", name="Move tenant-moves").click()
    expect(page.locator("#operation")).to_contain_text(re.compile("moving, step [1-5] of 5: "))
    expect(state(page)).to_have_text("serving", timeout=SERVED_WITHIN)
    expect(page.locator("#operation")).not_to_contain_text("moving, step")
    page.get_by_role("link", name="Open tenant-moves").click()
    expect(page.locator("#head")).to_contain_text("basic")
    expect(page.locator(f"#m-{sent}")).to_be_visible()
    assert saas.request("tenant-moves", "/producer")["environment"] == "pool-1"


def test_a_suspension_and_a_hold_are_shown_and_taken_back(page: Page, saas: Saas) -> None:
    onboard(page, saas, "tenant-rests", "basic")
    change(page, saas, "tenant-rests", "Suspend")
    # There is nothing to choose, so there is one thing to do.
    expect(page.get_by_role("button")).to_have_count(1)
    expect(page.get_by_role("link", name="Cancel")).to_be_visible()
    page.get_by_role("button", name="Suspend tenant-rests").click()
    expect(page).to_have_url(re.compile("/console/operations/"))
    page.get_by_role("link", name="Open tenant-rests").click()
    expect(state(page)).to_have_text("suspended", timeout=SERVED_WITHIN)
    change(page, saas, "tenant-rests", "Resume")
    page.get_by_role("button", name="Resume tenant-rests").click()
    expect(state(page)).to_have_text("serving", timeout=SERVED_WITHIN)

    change(page, saas, "tenant-rests", "Hold")
    page.get_by_label("Reason").fill("audit <until> Friday")
    page.get_by_role("button", name="Preview the commit").click()
    page.get_by_role("button", name="Hold tenant-rests").click()
    expect(page).to_have_url(re.compile("/console/operations/"))
    page.get_by_role("link", name="Open tenant-rests").click()
    expect(page.locator("#state")).to_contain_text("Held: audit <until> Friday")


def test_an_offboarding_wants_the_id_typed_and_ends_when_nothing_answers(page: Page, saas: Saas) -> None:
    onboard(page, saas, "tenant-leaves", "basic")
    change(page, saas, "tenant-leaves", "Offboard")
    offboard = page.get_by_role("button", name="Offboard tenant-leaves")
    confirm = page.get_by_label("Type tenant-leaves to confirm")
    confirm.fill("tenant-2")
    offboard.click()
    assert confirm.evaluate("field => field.validity.patternMismatch"), "the browser refuses another id"
    # The service refuses another id, too.
    confirm.evaluate("field => field.removeAttribute('pattern')")
    offboard.click()
    expect(page.get_by_role("alert")).to_contain_text("type the tenant's id")
    assert saas.serves("tenant-leaves")

    page.get_by_label("Type tenant-leaves to confirm").fill("tenant-leaves")
    page.get_by_role("button", name="Offboard tenant-leaves").click()
    expect(state(page)).to_have_text("gone", timeout=SERVED_WITHIN)
    assert not saas.serves("tenant-leaves")
    page.get_by_role("link", name="Open tenant-leaves").click()
    expect(state(page)).to_have_text("offboarded")
    expect(page.locator("#queues")).to_contain_text("no consumer any more")
    expect(page.locator("#messages")).to_contain_text("until the data is deleted")
    expect(page.locator("main")).not_to_contain_text("NotFound")
    assert not page.locator("#flow header .sub").inner_text().startswith(",")

    change(page, saas, "tenant-leaves", "Delete the data")
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete the data of tenant-leaves")
    expect(page.locator("#head")).to_contain_text("Nothing brings them back")
    page.get_by_label("Type tenant-leaves to confirm").fill("tenant-leaves")
    page.get_by_role("button", name="Delete the data of tenant-leaves").click()
    expect(state(page)).to_have_text("gone", timeout=SERVED_WITHIN)
    page.get_by_role("link", name="Open tenant-leaves").click()
    for part in ("#messages", "#payments", "#queues"):
        expect(page.locator(part)).to_contain_text("deleted with")
    change(page, saas, "tenant-leaves", "Forget")
    page.get_by_label("Type tenant-leaves to confirm").fill("tenant-leaves")
    page.get_by_role("button", name="Forget tenant-leaves").click()
    expect(state(page)).to_have_text("gone", timeout=SERVED_WITHIN)
    onboard(page, saas, "tenant-leaves", "basic")


def test_a_broken_commit_is_shown_with_file_and_line_and_a_mended_one_ends_that(pages: Any, saas: Saas) -> None:
    page = pages("/tenants")
    expect(page.locator("#live-state")).to_have_attribute("data-live", "on")
    clone = saas.clone("broken")
    file = clone.file_of("tenant-2")
    right = file.read_text()
    lines = right.splitlines()
    broken_line = next(number for number, line in enumerate(lines, 1) if "producer:" in line)
    lines[broken_line - 1] += " [unclosed"
    file.write_text("\n".join(lines) + "\n")
    commit = clone.push("a commit that does not lint")

    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("The newest commit is not in force")
    expect(notice).to_contain_text(commit[:10])
    expect(notice).to_contain_text(re.compile(r"tenants/basic/tenant-2\.yaml:\d+"))
    expect(notice).to_contain_text("Next: ")
    assert saas.serves("tenant-2"), "the last good commit stays in force"
    file.write_text(file.read_text() + "# a later commit\n")
    clone.push("a later commit")
    expect(notice).to_contain_text("1 commit since waits")
    expect(notice).to_contain_text(f"git revert {commit[:10]}")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=artefacts() / f"broken-commit-{scheme}.png")

    file.write_text(right)
    clone.push("mend it")
    expect(notice).to_have_count(0, timeout=SERVED_WITHIN)


def test_dead_letters_are_peeked_at_without_being_received_and_are_redriven(pages: Any, saas: Saas) -> None:
    saas.poison("tenant-1")
    page = pages("/tenants/tenant-1")
    letters = page.locator("#queues dd").nth(5)
    expect(letters).to_have_text("1", timeout=SERVED_WITHIN)
    for _ in range(2):
        page.get_by_role("link", name="Peek at the dead-letter queue").click()
        expect(page.locator("#peek tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Redrive the dead letters").click()
    expect(page.get_by_role("status").first).to_contain_text("go back to the queue")


def test_a_deployment_shows_its_waves(page: Page, saas: Saas) -> None:
    page.goto(saas.console + "/deployments")
    page.get_by_label("Tier", exact=True).select_option("premium")
    page.get_by_label("Release", exact=True).fill("0.0")
    page.get_by_label("Canaries").fill("tenant-1")
    page.get_by_text("Gate", exact=True).click()
    page.get_by_label("Bake time, in seconds").fill("1")
    page.get_by_role("button", name="Deploy").click()
    expect(page).to_have_url(re.compile("/console/deployments/"))
    expect(page.get_by_role("heading", name=re.compile("tenant-1"))).to_be_visible()


def test_activity_says_who_did_what_and_shows_the_commit(page: Page, saas: Saas) -> None:
    clone = saas.clone("activity")
    file = clone.file_of("tenant-2")
    file.write_text(file.read_text() + "# by hand\n")
    commit = clone.push("add a comment by hand")
    page.goto(saas.console + "/activity")
    row = page.get_by_role("row", name=re.compile("add a comment by hand"))
    expect(row).to_contain_text("a person")
    row.get_by_role("link", name=commit[:10]).click()
    expect(page.locator(".diff .added")).to_have_text("+# by hand")
