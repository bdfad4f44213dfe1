"""Runs every fuzz target with libFuzzer, prints one line per target, and fails on a crash.

Targets are tests (`fuzz_targets.rs` beside the tested code). `cargo test` replays the inputs in
`__fuzz__/TARGET/corpus` and `__fuzz__/TARGET/crashes`. New inputs go to target/fuzz/found/TARGET, or with --keep to the
corpus. An input that crashes goes to `crashes`; commit it with the fix.

The tests are built once, with coverage instrumentation, and then call libFuzzer as cargo-bolero would. cargo-bolero
itself builds once per package, programs and integration tests included.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = Path("target") / "fuzz"
TARGET = re.compile(
    r'^#\[test\]\nfn (\w+)\(\) \{.*?check!\(name = "([\w-]+)"\)',
    re.MULTILINE | re.DOTALL,
)
FLAGS = (
    "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module",
    *(
        f"-Cllvm-args=-sanitizer-coverage-{option}"
        for option in (
            "inline-8bit-counters",
            "level=4",
            "pc-table",
            "trace-compares",
            "stack-depth",
        )
    ),
)


@dataclass
class Target:
    """A test that bolero can run."""

    package: str
    test: str
    name: str
    inputs: Path


def targets() -> list[Target]:
    found = []
    for file in sorted(f for member in ("*", "*/*") for f in ROOT.glob(f"{member}/src/**/fuzz_targets.rs")):
        path = file.relative_to(ROOT)
        folder, modules = str(path.with_suffix("")).split("/src/")
        package = re.search(r'^name = "(.+)"$', (ROOT / folder / "Cargo.toml").read_text(), re.MULTILINE)[1]
        for function, name in TARGET.findall(file.read_text()):
            inputs = path.parent / "__fuzz__" / name
            found.append(Target(package, "::".join([*modules.split("/"), function]), name, inputs))
    return found


def host() -> str:
    version = subprocess.check_output(["rustc", "-vV"], text=True)
    return re.search(r"^host: (.+)$", version, re.MULTILINE)[1]


def build(packages: list[str]) -> dict[str, str]:
    """Builds the packages' unit tests, and returns the program of each package."""
    command = ["cargo", "test", "--lib", "--no-run", "--profile", "fuzz", "--locked"]
    # With --target, cargo does not apply the flags to build scripts and macros.
    command += ["--target", host(), "--target-dir", str(WORK)]
    command += ["--message-format", "json-render-diagnostics"]
    for package in packages:
        command += ["--package", package]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"RUSTFLAGS": " ".join(FLAGS)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return {
        message["target"]["name"].replace("_", "-"): message["executable"]
        for message in messages
        if message["reason"] == "compiler-artifact" and message["executable"]
    }


def files(folder: Path) -> set[Path]:
    return set(folder.iterdir()) if folder.exists() else set()


def fuzz(target: Target, program: str, seconds: int, keep: bool) -> bool:
    """Runs a target, and returns whether no input crashed it."""
    kept, crashes = target.inputs / "corpus", target.inputs / "crashes"
    found = kept if keep else WORK / "found" / target.name
    for folder in (found, crashes):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    before = files(ROOT / crashes)
    dictionary = target.inputs / "tokens.dict"
    arguments = [str(found), str(kept), str(crashes), f"-artifact_prefix={crashes}/"]
    arguments += [f"-max_total_time={seconds}", "-timeout=10", "-print_final_stats=1"]
    if (ROOT / dictionary).exists():
        arguments.append(f"-dict={dictionary}")
    ran = subprocess.run(
        [
            program,
            target.test,
            *("--exact", "--nocapture", "--quiet", "--test-threads", "1"),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "BOLERO_TEST_NAME": target.test,
            "BOLERO_LIBTEST_HARNESS": "1",
            "BOLERO_LIBFUZZER_ARGS": " ".join(arguments),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = ran.stdout.decode(errors="replace")
    new = sorted(files(ROOT / crashes) - before)
    if not any((ROOT / crashes).iterdir()):
        (ROOT / crashes).rmdir()
    tried = re.search(r"number_of_executed_units: +(\d+)", output)
    if tried is None and not new:
        print(output[-4000:])
        print(f"fuzz: {target.name} did not run; its output is above", flush=True)
        return False
    covered = re.findall(r"cov: (\d+)", output)
    print(
        f"fuzz {target.name:<16} {tried[1] if tried else '?':>9} inputs, {len(files(ROOT / kept)):>3} kept, "
        f"{covered[-1] if covered else '?':>6} edges, {len(new)} crashes",
        flush=True,
    )
    for crash in new:
        print(f"fuzz: {target.name} crashes on {crash.relative_to(ROOT)}: {crash.read_bytes()[:200]!r}")
    if ran.returncode != 0:
        print(
            "\n".join(re.findall(r"^.*panicked at.*\n.*$", output, re.MULTILINE)[:1]),
            flush=True,
        )
    return ran.returncode == 0 and not new


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds",
        type=int,
        default=30,
        help="seconds per target (default: 30)",
    )
    parser.add_argument("--keep", action="store_true", help="add new inputs to the corpus")
    parser.add_argument("names", nargs="*", help="targets (default: all)")
    options = parser.parse_args()
    known = targets()
    unknown = set(options.names) - {target.name for target in known}
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; choose from {', '.join(t.name for t in known)}")
    # Builds all packages for every choice, because cargo builds shared dependencies alike only for the same selection.
    programs = build(sorted({target.package for target in known}))
    chosen = [target for target in known if not options.names or target.name in options.names]
    # Runs every target, even after a crash of another.
    passed = [fuzz(target, programs[target.package], options.seconds, options.keep) for target in chosen]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
