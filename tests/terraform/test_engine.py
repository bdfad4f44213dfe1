"""The engines accept the configuration: its format, names, types and own tests."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import need_provider
from engine import MODULE, PLATFORM, TERRAFORM, Engine

CONFIGURATIONS = [MODULE, PLATFORM]


class NoResources:
    """Refuses every call, because a mocked run makes no resource."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"a mocked run called {name}")


@pytest.fixture(scope="module")
def mocked(folder: Path) -> Iterator[dict[str, str]]:
    need_provider()
    from provider import serving

    place = Path(tempfile.mkdtemp(dir=folder))
    with serving(place, NoResources()) as environment:  # type: ignore[arg-type]
        yield environment


def test_the_format_is_canonical(engine: Engine, tmp_path: Path) -> None:
    engine.run(TERRAFORM, "fmt", "-check", "-recursive", "-diff", data=tmp_path, environment={})


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_it_is_valid_by_the_schema_of_provider_6(
    engine: Engine, configuration: Path, mocked: dict[str, str], tmp_path: Path
) -> None:
    engine.run(configuration, "init", "-backend=false", data=tmp_path, environment=mocked)
    engine.run(configuration, "validate", data=tmp_path, environment=mocked)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_its_own_tests_pass(engine: Engine, configuration: Path, mocked: dict[str, str], tmp_path: Path) -> None:
    engine.run(configuration, "init", "-backend=false", data=tmp_path, environment=mocked)
    done = engine.run(configuration, "test", data=tmp_path, environment=mocked)
    summary = re.search(r"(\d+) passed, 0 failed", done.stdout)
    written = sum(len(re.findall(r"^run \"", f.read_text(), re.M)) for f in configuration.rglob("*.tftest.hcl"))
    assert summary
    assert int(summary.group(1)) == written > 0


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_the_real_provider_agrees(engine: Engine, configuration: Path, tmp_path: Path) -> None:
    init = engine.run(
        configuration, "init", "-backend=false", "-lockfile=readonly", data=tmp_path, environment={}, check=False
    )
    if init.returncode != 0:
        reason = next((line for line in init.stderr.splitlines() if "Error:" in line), init.stderr[:200])
        pytest.skip(f"the provider cannot be installed here: {reason.strip('│ ')}")
    engine.run(configuration, "validate", data=tmp_path, environment={})
    engine.run(configuration, "test", data=tmp_path, environment={})


MISTAKES = {
    "an unknown attribute": ("consumer.tf", "receive_wait_time_seconds  =", "receive_wait_seconds  ="),
    "an unknown block": ("consumer.tf", "point_in_time_recovery {", "pitr {"),
    "a value of the wrong type": ("consumer.tf", "= 1209600", '= "two weeks"'),
    "a missing required attribute": (
        "payments.tf",
        'attribute_name = "expires_at"\n    enabled        = true',
        "name = 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_validation_finds_a_mistake(engine: Engine, mistake: str, mocked: dict[str, str], tmp_path: Path) -> None:
    """Proves that the stand-in's schema refuses mistakes."""
    file, old, new = MISTAKES[mistake]
    module = tmp_path / "module"
    module.mkdir()
    for source in MODULE.glob("*.tf"):
        text = source.read_text()
        assert old in text or source.name != file
        (module / source.name).write_text(text.replace(old, new) if source.name == file else text)
    engine.run(module, "init", "-backend=false", data=tmp_path / "data", environment=mocked)
    done = engine.run(module, "validate", data=tmp_path / "data", environment=mocked, check=False)
    assert done.returncode != 0
