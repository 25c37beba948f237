#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds up a meson test log: prints "passed failed skipped" and names what was skipped or failed on stderr.

A skip in CI is a failure unless the test says that it cannot run on such a machine at all: the reason it
prints begins with "SKIP: cannot run here:".
"""
import json
import os
import sys

EXCUSE = "SKIP: cannot run here:"


def count(path: str, build: str) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    with open(path, encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            name, result = test["name"], test["result"]
            if result in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif result == "SKIP":
                text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
                reasons = [l for l in text.splitlines() if l.startswith("SKIP: ")]
                reason = reasons[-1] if reasons else "SKIP: no reason given"
                if os.environ.get("CI") and not reason.startswith(EXCUSE):
                    failed += 1
                    print(f"{build}: {name} must not be skipped in CI: {reason}", file=sys.stderr)
                else:
                    skipped += 1
                    print(f"{build}: {name} skipped: {reason[6:]}", file=sys.stderr)
            else:
                failed += 1
                print(f"{build}: {name}: {result}", file=sys.stderr)
    return passed, failed, skipped


def main() -> int:
    try:
        passed, failed, skipped = count(sys.argv[1], sys.argv[2])
        print(passed, failed if passed + failed + skipped else 1, skipped)
    except (OSError, ValueError, KeyError) as error:
        print(f"{sys.argv[2]}: no test results: {error}", file=sys.stderr)
        print("0 1 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
