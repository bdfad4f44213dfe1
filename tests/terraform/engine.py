"""Runs Terraform and OpenTofu, if they are on the PATH, with the stand-in provider."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "terraform"
MODULE = TERRAFORM / "modules" / "tenant-apps"
PLATFORM = TERRAFORM / "platform"
DEADLINE_SECONDS = 300.0
OLDEST = (1, 7)
COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Engine:
    """Terraform or OpenTofu, at one version."""

    program: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{Path(self.program).name} {'.'.join(map(str, self.version))}"

    def run(
        self, folder: Path, *arguments: str, data: Path, environment: Mapping[str, str], check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs in a folder, with the program's own files in `data`."""
        done = subprocess.run(
            [self.program, f"-chdir={folder}", *arguments],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))},
                "TF_DATA_DIR": str(data),
                "TF_IN_AUTOMATION": "1",
                "TF_INPUT": "0",
                "TF_CLI_CONFIG_FILE": os.devnull,
                "CHECKPOINT_DISABLE": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        done.stdout, done.stderr = (COLOR.sub("", text) for text in (done.stdout, done.stderr))
        if check:
            assert done.returncode == 0, f"{self} {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done


def engines() -> list[Engine]:
    """Finds the engines on the PATH that are new enough."""
    found = []
    for name in ("terraform", "tofu"):
        if program := shutil.which(name):
            environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
            done = subprocess.run(
                [program, "version", "-json"], env=environment, capture_output=True, text=True, check=False
            )
            numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", json.loads(done.stdout)["terraform_version"])
            assert numbers, done.stdout
            engine = Engine(program, tuple(int(number) for number in numbers.groups()))
            if engine.version >= OLDEST:
                found.append(engine)
    return found


@dataclass
class State:
    """A configuration with its own state."""

    engine: Engine
    folder: Path
    module: Path
    environment: Mapping[str, str]

    def init(self) -> None:
        """Initializes a copy of the configuration, because the program writes beside it."""
        shutil.copytree(self.module, self.folder / "module", ignore=shutil.ignore_patterns("tests", ".terraform*"))
        self._run("init")

    def apply(self, check: bool = True, **variables: Any) -> subprocess.CompletedProcess[str]:
        return self._run("apply", "-auto-approve", *flags(variables), check=check)

    def destroy(self, check: bool = True, **variables: Any) -> subprocess.CompletedProcess[str]:
        return self._run("destroy", "-auto-approve", *flags(variables), check=check)

    def is_settled(self, **variables: Any) -> bool:
        """Whether another apply would make no change."""
        done = self._run("plan", "-detailed-exitcode", *flags(variables), check=False)
        assert done.returncode in (0, 2), done.stderr
        return done.returncode == 0

    def outputs(self) -> dict[str, Any]:
        return {name: output["value"] for name, output in json.loads(self._run("output", "-json").stdout).items()}

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        folder = self.folder / "module"
        return self.engine.run(folder, *arguments, data=self.folder / "data", environment=self.environment, check=check)


def flags(variables: Mapping[str, Any]) -> list[str]:
    return [f"-var={n}={v if isinstance(v, str) else json.dumps(v)}" for n, v in variables.items()]
