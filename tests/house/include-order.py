#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails when an include runs against the order of the modules (ARCHITECTURE.md, "Dependencies").

Usage: include-order.py SOURCE_FOLDER      checks the tree
       include-order.py --self-test        shows that a wrong include is found
"""
import pathlib
import re
import sys
import tempfile

MAY_INCLUDE = {
    "base": {"base"},
    "hal": {"base", "hal"},
    "crypto": {"base", "crypto"},
    "media": {"base", "media"},
    "jobs": {"base", "jobs"},
    "uploader": {"base", "hal", "crypto", "media", "uploader"},
    "daemon": {"base", "hal", "jobs", "daemon"},
    "ctl": {"base", "hal", "crypto", "media", "jobs", "uploader", "ctl"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def check(root: pathlib.Path) -> list[str]:
    faults = []
    for module, allowed in MAY_INCLUDE.items():
        for path in sorted((root / module).glob("*.[ch]")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(1)
                folder = target.split("/")[0] if "/" in target else None
                where = f"{path.relative_to(root)}:{number}"
                if folder is None or not (root / target).is_file():
                    faults.append(f'{where}: "{target}" is not written as "module/file.h"')
                elif folder not in allowed:
                    faults.append(f"{where}: {module}/ must not include {folder}/")
    return faults


def self_test() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "base").mkdir()
        (root / "media").mkdir()
        (root / "media/x.h").write_text("")
        (root / "media/y.h").write_text('#include "media/x.h"\n')
        if check(root):
            return False
        (root / "base/z.c").write_text('#include "media/x.h"\n')
        (root / "media/z.c").write_text('#include "x.h"\n')
        return len(check(root)) == 2


def main() -> int:
    if sys.argv[1] == "--self-test":
        return 0 if self_test() else 1
    faults = check(pathlib.Path(sys.argv[1]))
    print("\n".join(faults) or "includes follow the order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
