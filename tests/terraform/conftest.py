"""Shared by the tests: the installed engines, the stand-in providers, and an endpoint to apply to."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import endpoints
from engine import MODULE, Engine, State, engines

NO_ENGINE = "no terraform or tofu, version 1.7 or newer, is on the PATH"
ENGINES = engines()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ENGINES or [None], ids=lambda e: str(e or "no engine"), scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param is None:
        pytest.skip(NO_ENGINE)
    return request.param


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    # A socket's path has at most 107 characters, and pytest's own folders are longer.
    with tempfile.TemporaryDirectory(prefix="tf") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def endpoint(folder: Path) -> Iterator[endpoints.Aws]:
    with endpoints.ministack(folder, services="sqs,ssm,sts,dynamodb,iam") as aws:
        yield aws


@pytest.fixture(scope="session")
def resources(endpoint: endpoints.Aws) -> Any:
    need_provider()
    from resources import Endpoint

    return Endpoint(endpoint.url)


@pytest.fixture(scope="session")
def attached(folder: Path, resources: Any) -> Iterator[dict[str, str]]:
    """Serves the stand-in providers, which make resources at the endpoint."""
    from provider import serving

    with serving(folder, resources) as environment:
        yield environment


@pytest.fixture(scope="session")
def state(engine: Engine, attached: dict[str, str], folder: Path) -> Callable[[str], State]:
    """Returns the module's state of a name; the same state for the same name."""
    states: dict[str, State] = {}

    def named(name: str, module: Path = MODULE) -> State:
        if name not in states:
            place = folder / f"{Path(engine.program).name}-{name}"
            place.mkdir()
            states[name] = State(engine, place, module, attached)
            states[name].init()
        return states[name]

    return named


def need_provider() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("the stand-in provider's protocol (package tf) needs Python 3.11 or newer")


def pytest_report_header() -> list[str]:
    return [f"engines: {', '.join(map(str, ENGINES)) or NO_ENGINE}"]
