#!/usr/bin/env python3
"""Writes two copies of each chart's values.yaml: the table of values in README.md, and templates/_defaults.tpl.

    helm-charts/values_table.py            writes the copies
    helm-charts/values_table.py --check    changes nothing; exit code 1 if a copy is out of date

A key's comment is the lines directly above it. Every key needs a comment. If no key below a map has one (`resources`),
the whole map is one row. Templates need the defaults, because Helm removes a default that the values set to null.
Needs PyYAML.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

BEGIN = "<!-- values: written by helm-charts/values_table.py -->"
END = "<!-- end of values -->"

DEFAULTS = """\
{{/* The defaults of values.yaml, by helm-charts/values_table.py: Helm removes a default that is set to null. */}}
{{- define "%s.defaults" -}}
%s{{- end -}}
"""


class Row(NamedTuple):
    path: str
    default: str
    comment: str


class Problem(Exception):
    """A mistake in values.yaml or README.md; the message says what to change."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if a table is out of date")
    is_check = parser.parse_args().check
    is_outdated = False
    for values in sorted(Path(__file__).parent.glob("*/values.yaml")):
        try:
            for path, new in copies(values):
                if path.exists() and path.read_text(encoding="utf-8") == new:
                    continue
                if is_check:
                    print(
                        f"{path}: the copy of the values is out of date; run helm-charts/values_table.py",
                        file=sys.stderr,
                    )
                    is_outdated = True
                else:
                    path.write_text(new, encoding="utf-8")
        except (Problem, yaml.YAMLError, OSError) as problem:
            print(f"{values.parent.name}: {problem}", file=sys.stderr)
            return 1
    return int(is_outdated)


def copies(values: Path) -> Iterator[tuple[Path, str]]:
    text = values.read_text(encoding="utf-8")
    readme = values.with_name("README.md")
    yield readme, with_table(readme.read_text(encoding="utf-8"), table(text))
    plain = yaml.safe_dump(yaml.safe_load(text), sort_keys=False, default_flow_style=None, width=120)
    yield values.parent / "templates" / "_defaults.tpl", DEFAULTS % (values.parent.name, plain)


def with_table(readme: str, rows: str) -> str:
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Problem(f"README.md lacks the lines {BEGIN} and {END}; add them where the table belongs")
    return f"{before}{BEGIN}\n{rows}{END}{after}"


def table(text: str) -> str:
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise Problem("values.yaml is not a map; begin it with a key")
    lines = ["| key | default | |", "| --- | --- | --- |"]
    lines += [f"| `{row.path}` | {row.default} | {row.comment} |" for row in rows_of(root, "", text.splitlines())]
    return "\n".join(lines) + "\n"


def rows_of(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Row]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        comment = comment_above(key, lines)
        if is_group(value, lines):
            if comment:
                yield Row(path, "", comment)
            yield from rows_of(value, f"{path}.", lines)
        elif comment:
            yield Row(path, default(value), comment)
        else:
            raise Problem(f"values.yaml, line {key.start_mark.line + 1}: {path} has no comment; write one above it")


def is_group(node: yaml.Node, lines: list[str]) -> bool:
    """Whether a key at any depth below has a comment."""
    return isinstance(node, yaml.MappingNode) and any(
        comment_above(key, lines) or is_group(value, lines) for key, value in node.value
    )


def comment_above(key: yaml.Node, lines: list[str]) -> str:
    found: list[str] = []
    for line in reversed(lines[: key.start_mark.line]):
        text = line.strip()
        if not text.startswith("#"):
            break
        found.append(text.removeprefix("#").strip())
    return " ".join(reversed(found)).replace("|", "\\|")


def default(node: yaml.Node) -> str:
    value = yaml.SafeLoader("").construct_object(node, deep=True)
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
