#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails when a public function that can fail does not say how.

Public means: declared in a module's header. It can fail when it returns int or ssize_t. Then the comment
above it, or above the group of declarations it stands in, or behind it on its line, must have the word
"Returns" or "Return", or say what a value means ("0, -ENOMEM").

Usage: documented-errors.py SOURCE_FOLDER | --self-test
"""
import pathlib
import re
import sys
import tempfile

MODULES = ("base", "hal", "crypto", "media", "uploader", "jobs", "daemon", "ctl")
SAYS_HOW = re.compile(r"\b[Rr]eturns?\b|\b0\b[^*]*-E[A-Z]+")
DECLARATION = re.compile(r"^(?:int|ssize_t)\s+(\w+)\s*\(")


def check_text(text: str) -> list[tuple[int, str]]:
    """(line, function) of each function that does not say how it fails."""
    faults = []
    comment, inside, fresh = "", False, True
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if inside or stripped.startswith("/*"):
            comment = comment + " " + stripped if inside else stripped
            inside = "*/" not in stripped
            continue
        if not stripped:
            # A blank line ends a group, unless the comment stood alone above it.
            comment = ""
            continue
        match = DECLARATION.match(line)
        if not match:
            continue
        statement, at = line, number
        while ";" not in statement and "{" not in statement and at < len(lines):
            statement += " " + lines[at]
            at += 1
        if not SAYS_HOW.search(comment + " " + statement.partition(";")[2]):
            faults.append((number, match.group(1)))
    return faults


def check(root: pathlib.Path) -> list[str]:
    faults = []
    for module in MODULES:
        for path in sorted((root / module).glob("*.h")):
            for number, name in check_text(path.read_text(encoding="utf-8")):
                faults.append(f"{path.relative_to(root)}:{number}: {name}() does not say which errors it returns")
    return faults


def self_test() -> bool:
    good = "/* Adds. Returns 0 or -ENOMEM. */\nint a(void);\nint b(int x,\n      int y);\nint c(void); /* 0, -EIO */\n"
    bad = "/* Adds. */\nint a(void);\n\nint b(void);\nvoid c(void);\n"
    return not check_text(good) and [name for _, name in check_text(bad)] == ["a", "b"]


def main() -> int:
    if sys.argv[1] == "--self-test":
        return 0 if self_test() else 1
    faults = check(pathlib.Path(sys.argv[1]))
    print("\n".join(faults) or "every public function says how it fails")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
