"""A valid request may be refused only for reasons that no document can express.

This replaces schemathesis' positive_data_acceptance, which knows only statuses: a 400 for an unknown cursor must not
excuse a 400 for another reason.
"""

from __future__ import annotations

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, Response

# Codes of refusals that depend on stored data, or that a schema cannot express.
EXCUSED = {
    "invalid_cursor": "a cursor is opaque and comes from an earlier page",
    "invalid_currency": "the list of ISO 4217 changes",
    "invalid_tenant_id": "the pattern does not list reserved names",
    "already_reverted": "depends on the deployment",
    "data_protected": "depends on the tenant",
    "deployment_unknown": "no deployment has this id",
    "held": "depends on the tenant",
    "invalid_callback": "a URL may be well-formed and not allowed",
    "invalid_field": "the pattern does not list reserved names",
    "invalid_wave": "the names of tenants are no part of the document",
    "leading_digit": "depends on the id",
    "no_consumer": "depends on the tenant",
    "not_held": "depends on the deployment",
    "not_offboarded": "depends on the tenant",
    "gone": "the tenant is offboarded",
    "offboarded": "the tenant is offboarded",
    "operation_unknown": "no operation has this id",
    "other_release": "the tenant has another release",
    "other_tier": "the tenant has another tier",
    "not_found": "there is no such tenant",
    "idempotency_key_reused": "an earlier request used the key",
    "refund_exceeds_charge": "depends on the stored charge",
    "charge_unknown": "no charge has this id",
    "tenant_unknown": "the tenant is not registered",
    "tenant_missing": "existing clients expect a 404",
    "wrong_tier": "the tenant has another tier",
}


@schemathesis.check
def only_excused_refusals(ctx: CheckContext, response: Response, case: Case) -> None:
    """A valid request succeeds, or is refused for an excused reason."""
    if response.status_code < 400 or case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    code = response.json()["code"]
    # JSON Schema accepts 1.0 as an integer; the service never reads an amount as a float.
    is_float = code == "invalid_amount" and isinstance(case.body, dict) and isinstance(case.body.get("amount"), float)
    assert code in EXCUSED or is_float, f"refused with {code}: {response.json()['msg']}"


@schemathesis.check
def every_error_has_its_id(ctx: CheckContext, response: Response, case: Case) -> None:
    """An error's body and header have the same request id. No answer may be cached or sniffed."""
    if response.status_code >= 400:
        assert [response.json()["request_id"]] == response.headers["x-request-id"]
    assert response.headers["cache-control"] == ["no-store"]
    assert response.headers["x-content-type-options"] == ["nosniff"]
