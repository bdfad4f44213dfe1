"""The services behave as their documents say: schemathesis derives valid and invalid requests from them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SERVICES

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# Per phase and operation. SCHEMATHESIS_EXAMPLES and SCHEMATHESIS_SEED change the number and the choice.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "20")
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
# `refusals.only_excused_refusals` replaces it.
EXCLUDED = ("--exclude-checks", "positive_data_acceptance")
# A registered tenant, and tenants that schemathesis makes up.
CALLERS = {"tenant-2": ["--header", "tenantID: tenant-2"], "generated": []}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis needs Python 3.11 or newer")
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_request_is_answered_as_described(
    services: dict[str, str], settings: Path, tmp_path: Path, service: str, caller: str
) -> None:
    cases = run(f"{services[service]}/{service}/openapi.json", settings, tmp_path, *EXCLUDED, *CALLERS[caller])
    print(f"{service} as {caller}: {cases} requests")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis needs Python 3.11 or newer")
def test_every_request_to_the_control_plane_is_answered_as_described(
    control_plane: str, settings: Path, tmp_path: Path
) -> None:
    # A stream of events does not end. The `id` in the answer to POST /tenants is the operation's, not the tenant's.
    without = ["--exclude-path", "/events", "--exclude-checks", "positive_data_acceptance,ensure_resource_availability"]
    print(f"control plane: {run(f'{control_plane}/openapi.json', settings, tmp_path, *without)} requests")


def run(document: str, settings: Path, folder: Path, *more: str) -> int:
    """Runs schemathesis and returns the number of requests."""
    options = [
        "--checks",
        "all",
        "--seed",
        SEED,
        "--max-examples",
        EXAMPLES,
        "--request-timeout",
        "10",
        "--no-color",
    ]
    ran = subprocess.run(
        [
            *(str(SCHEMATHESIS), "--config-file", str(settings), "run", document),
            *(*options, *more),
        ],
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "refusals", "PYTHONPATH": str(Path(__file__).parent), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cases = re.search(r"(\d+) generated", ran.stdout)
    assert cases, ran.stdout
    assert int(cases[1]) > 50, ran.stdout
    return int(cases[1])
