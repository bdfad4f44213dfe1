#!/usr/bin/env python3
"""Writes the table of values into each chart's README.md, from the comments in its values.yaml.

    helm-charts/values_table.py            writes
    helm-charts/values_table.py --check    changes nothing; exit code 1 where a table has drifted

A key's comment is the lines directly above it. Every key needs one, except below a key whose comment covers all of it
(`resources`): then the whole is one row. Needs PyYAML.
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


class Row(NamedTuple):
    path: str
    default: str
    comment: str


class Problem(Exception):
    """A sentence for whoever has to mend it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail where a table has drifted")
    is_check = parser.parse_args().check
    has_drifted = False
    for values in sorted(Path(__file__).parent.glob("*/values.yaml")):
        readme = values.with_name("README.md")
        try:
            old = readme.read_text(encoding="utf-8")
            new = with_table(old, table(values.read_text(encoding="utf-8")))
        except (Problem, yaml.YAMLError, OSError) as problem:
            print(f"{values.parent.name}: {problem}", file=sys.stderr)
            return 1
        if old == new:
            continue
        if is_check:
            print(f"{readme}: the table of values has drifted; run helm-charts/values_table.py", file=sys.stderr)
            has_drifted = True
        else:
            readme.write_text(new, encoding="utf-8")
    return int(has_drifted)


def with_table(readme: str, rows: str) -> str:
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Problem(f"README.md lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{rows}{END}{after}"


def table(text: str) -> str:
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise Problem("values.yaml is no map")
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
            raise Problem(f"values.yaml, line {key.start_mark.line + 1}: {path} has no comment")


def is_group(node: yaml.Node, lines: list[str]) -> bool:
    """Whether the keys below have comments, theirs or further down."""
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
