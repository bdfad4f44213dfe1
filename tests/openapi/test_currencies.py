"""The currencies of a charge are those of ISO 4217's list one, as a package that is not ours has it."""

from __future__ import annotations

import http.client
import json
import re
from datetime import date

import iso4217
from babel.core import get_global

from endpoints import REPOSITORY

CURRENT = {currency.code: currency.exponent for currency in iso4217.Currency}
"""Minor units of each code of the list; None where the list says that there are none."""
EVER = {code for periods in get_global("territory_currencies").values() for code, *_ in periods}
"""Codes that were a territory's currency at some time, by CLDR."""


def posted(payments: str, code: str) -> tuple[int, dict[str, str]]:
    body = json.dumps({"amount": 1250, "currency": code, "reference": "currencies"}).encode()
    headers = {"tenantID": "tenant-2", "Idempotency-Key": f"currency-{code}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(payments.removeprefix("http://"), timeout=10)
    connection.request("POST", "/payments/charges", body, headers)
    response = connection.getresponse()
    answer = json.load(response)
    connection.close()
    return response.status, answer


def taken(payments: str, code: str) -> bool:
    status, answer = posted(payments, code)
    if status == 400:
        assert answer["code"] == "invalid_currency", answer
    else:
        assert status == 201, answer
    return status == 201


def test_the_page_states_the_date_of_the_list() -> None:
    published = iso4217.__published__
    assert isinstance(published, date)
    page = " ".join((REPOSITORY / "docs" / "payments.md").read_text().split())
    assert f"ISO 4217's list as published on {published.isoformat()}" in page


def test_a_charge_is_in_a_currency_of_the_list_that_has_minor_units(services: dict[str, str]) -> None:
    wanted = {code for code, exponent in CURRENT.items() if exponent is not None}
    assert len(wanted) > 150
    assert {code for code in CURRENT if taken(services["payments"], code)} == wanted


def test_no_charge_is_in_a_withdrawn_currency_or_in_none(services: dict[str, str]) -> None:
    withdrawn = EVER - CURRENT.keys()
    assert {"ANG", "BGN", "CUC", "DEM", "HRK", "SLL", "ZWL"} <= withdrawn
    none = {"ZZZ", "AAA", "EURO", "eur", "978"}
    codes = {code for code in withdrawn if re.fullmatch("[A-Z]{3}", code)} | none
    assert {code for code in codes if taken(services["payments"], code)} == set()
