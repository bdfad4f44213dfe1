"""Finds Chromium, and starts it. The browser makes no request to another machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from endpoints import REPOSITORY

TOOLS = REPOSITORY / ".tools" / "console"
"""Where `make console` installs the packages of package.json."""

ON_PATH = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def launch(playwright: Playwright) -> Browser:
    """Starts $CHROMIUM, else the Chromium of the machine, else that of the npm package."""
    machine = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ON_PATH)), None)
    if machine:
        return playwright.chromium.launch(executable_path=machine, args=ARGUMENTS)
    folder = TOOLS / "browser"
    program = folder / "chromium"
    if not program.exists():
        raise FileNotFoundError(f"no Chromium: {program} does not exist; run make console, or name one with CHROMIUM=")
    fonts = folder / "machine-and-own.conf"
    fonts.write_text(
        '<?xml version="1.0"?><fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include>'
        f"<dir>{folder / 'fonts'}</dir></fontconfig>"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_FILE": str(fonts)}
    return playwright.chromium.launch(executable_path=str(program), args=ARGUMENTS, env=environment)


def axe() -> str:
    """Source of axe-core."""
    return (TOOLS / "node_modules" / "axe-core" / "axe.min.js").read_text()


def artefacts() -> Path:
    """Folder of the screenshots."""
    folder = Path(os.environ.get("CONSOLE_ARTEFACTS", REPOSITORY / "target" / "console"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
