"""Drives every fuzz target with libFuzzer: a line for each, and a failure where one has crashed.

The targets are tests (`fuzz_targets.rs` beside the code they try). `cargo test` replays what is kept of them in
`__fuzz__/TARGET/corpus` and `__fuzz__/TARGET/crashes`. What libFuzzer finds goes to target/fuzz/found/TARGET, or with
--keep to the corpus; an input that crashes goes to `crashes`, to be committed with the fix.

The tests are built once, with flags that have every branch counted, and then told to hand over to libFuzzer as
cargo-bolero does. It is not used itself: it builds once for each package, the programs and integration tests too.
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
PACKAGE = re.compile(r'^name = "([\w-]+)"', re.MULTILINE)
FLAGS = (
    "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module",
    *(
        f"-Cllvm-args=-sanitizer-coverage-{what}"
        for what in (
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
    """A test that bolero can drive."""

    package: str
    test: str
    name: str
    inputs: Path


def targets() -> list[Target]:
    found = []
    files = [*ROOT.glob("*/src/**/fuzz_targets.rs"), *ROOT.glob("*/*/src/**/fuzz_targets.rs")]
    for file in sorted(files):
        path = file.relative_to(ROOT)
        crate, modules = ROOT, list(path.with_suffix("").parts)
        while modules[0] != "src":
            crate /= modules.pop(0)
        package = PACKAGE.search((crate / "Cargo.toml").read_text())[1]
        modules.pop(0)
        for function, name in TARGET.findall(file.read_text()):
            inputs = path.parent / "__fuzz__" / name
            found.append(Target(package, "::".join([*modules, function]), name, inputs))
    return found


def host() -> str:
    version = subprocess.check_output(["rustc", "-vV"], text=True)
    return re.search(r"^host: (.+)$", version, re.MULTILINE)[1]


def build(packages: list[str]) -> dict[str, str]:
    """Builds the packages' unit tests; the program of each."""
    command = ["cargo", "test", "--lib", "--no-run", "--profile", "fuzz", "--locked"]
    # With an explicit target, cargo does not apply the flags to build scripts and macros.
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
    """Whether no input made the target crash."""
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
    said = ran.stdout.decode(errors="replace")
    new = sorted(files(ROOT / crashes) - before)
    if not any((ROOT / crashes).iterdir()):
        (ROOT / crashes).rmdir()
    tried = re.search(r"number_of_executed_units: +(\d+)", said)
    if tried is None and not new:
        print(said[-4000:])
        print(f"fuzz: {target.name} did not run: see above", flush=True)
        return False
    covered = re.findall(r"cov: (\d+)", said)
    print(
        f"fuzz {target.name:<16} {tried[1] if tried else '?':>9} inputs, {len(files(ROOT / kept)):>3} kept, "
        f"{covered[-1] if covered else '?':>6} edges, {len(new)} crashes",
        flush=True,
    )
    for crash in new:
        print(f"fuzz: {target.name} crashes on {crash.relative_to(ROOT)}: {crash.read_bytes()[:200]!r}")
    if ran.returncode != 0:
        print(
            "\n".join(re.findall(r"^.*panicked at.*\n.*$", said, re.MULTILINE)[:1]),
            flush=True,
        )
    return ran.returncode == 0 and not new


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds",
        type=int,
        default=30,
        help="how long each target is tried (default: 30)",
    )
    parser.add_argument("--keep", action="store_true", help="add what is found to the corpus")
    parser.add_argument("names", nargs="*", help="targets; all where none is named")
    options = parser.parse_args()
    known = targets()
    unknown = set(options.names) - {target.name for target in known}
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(t.name for t in known)}")
    # All of them, whatever was chosen: what they share is built alike for every choice.
    programs = build(sorted({target.package for target in known}))
    chosen = [target for target in known if not options.names or target.name in options.names]
    # Every one is tried, whatever became of those before.
    kept = [fuzz(target, programs[target.package], options.seconds, options.keep) for target in chosen]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
