#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails when an id of a message (base/names.h) is not in berthd(8), stands there with another meaning, or comes twice.

Usage: message-ids.py SOURCE_FOLDER
"""
import pathlib
import re
import sys


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    page = (root / "man/berthd.8").read_text(encoding="utf-8")
    rows = re.findall(r'X\((\w+),\s*"([0-9a-f]{32})",\s*"([^"]+)"\)', (root / "base/names.h").read_text(encoding="utf-8"))
    documented = dict(re.findall(r"^\.B ([0-9a-f]{32})\n(.+)\.$", page, re.MULTILINE))
    faults = [f"{name}: berthd(8) does not say '{sentence}'" for name, number, sentence in rows
              if documented.get(number, "").lower() != sentence.lower()]
    faults += [f"{number} comes twice" for number in {n for _, n, _ in rows} if sum(n == number for _, n, _ in rows) > 1]
    faults += [f"{number} is in berthd(8), but in no message" for number in documented.keys() - {n for _, n, _ in rows}]
    print("\n".join(faults))
    return 1 if faults or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
