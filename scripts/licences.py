#!/usr/bin/env python3
"""Holds every dependency's licence to the list in deny.toml: what `cargo deny check licenses` does, for machines without it."""

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def allowed():
    text = (HERE / "deny.toml").read_text()
    block = re.search(r"^allow = \[(.*?)^\]", text, re.S | re.M)
    return set(re.findall(r'"([^"]+)"', block.group(1)))


def satisfied(expression, allow):
    """An SPDX expression: OR binds weaker than AND; the old slash means OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+(?:\s+WITH\s+[^\s()]+)?|/", expression)
    at = 0

    def either():
        nonlocal at
        value = both()
        while at < len(tokens) and tokens[at] in ("OR", "/"):
            at += 1
            value = both() or value
        return value

    def both():
        nonlocal at
        value = one()
        while at < len(tokens) and tokens[at] == "AND":
            at += 1
            value = one() and value
        return value

    def one():
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "(":
            value = either()
            at += 1
            return value
        return re.sub(r"\s+", " ", token) in allow

    return either()


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    linux = ["--all-features", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(command + linux, cwd=HERE, check=True, capture_output=True).stdout)
    allow = allowed()
    # Only what is linked in: not what the tests and benches alone need.
    nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}
    packages = {p["id"]: p for p in metadata["packages"]}
    wanted, seen = [metadata["resolve"]["root"]], set()
    while wanted:
        node = wanted.pop()
        if node in seen:
            continue
        seen.add(node)
        for dependency in nodes[node]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                wanted.append(dependency["pkg"])
    faults = [
        f"{p['name']} {p['version']}: {p['license'] or 'no licence'}"
        for p in (packages[i] for i in sorted(seen))
        if not satisfied(p["license"] or "none", allow)
    ]
    print(f"{len(seen)} packages, licences allowed by deny.toml: {len(seen) - len(faults)}")
    for fault in faults:
        print(f"not allowed: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
