"""What a request may be refused for that keeps to the document: nothing but what no document can say.

This is schemathesis' positive_data_acceptance with the reasons spelled out: that check knows statuses alone, and a 400
for a cursor nobody gave out must not excuse a 400 for anything else.
"""

from __future__ import annotations

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, Response

# The code of each refusal that depends on what is stored, or on more than a schema can say.
EXCUSED = {
    "invalid_cursor": "opaque: only what a page before has given is one",
    "invalid_currency": "a list of ISO 4217, which changes",
    "invalid_tenant_id": "reserved names are not spelled out in the pattern",
    "idempotency_key_reused": "the key came with another request before",
    "refund_exceeds_charge": "depends on the charge",
    "charge_unknown": "nothing of this id is stored",
    "tenant_unknown": "not registered",
    "tenant_missing": "existing clients know it as a 404",
    "wrong_tier": "the tenant's own tier is another",
}


@schemathesis.check
def only_excused_refusals(ctx: CheckContext, response: Response, case: Case) -> None:
    """A request that keeps to the document is carried out, or refused for a reason it cannot know."""
    if response.status_code < 400 or case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    code = response.json()["code"]
    # 1.0 is an integer to JSON Schema; amounts are never read as floats.
    is_float = code == "invalid_amount" and isinstance(case.body, dict) and isinstance(case.body.get("amount"), float)
    assert code in EXCUSED or is_float, f"refused with {code}: {response.json()['msg']}"


@schemathesis.check
def every_error_has_its_id(ctx: CheckContext, response: Response, case: Case) -> None:
    """The id in the body is the one in the header, and no answer may be stored or guessed at."""
    if response.status_code >= 400:
        assert [response.json()["request_id"]] == response.headers["x-request-id"]
    assert response.headers["cache-control"] == ["no-store"]
    assert response.headers["x-content-type-options"] == ["nosniff"]
