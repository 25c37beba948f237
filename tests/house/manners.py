#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks small manners of every source file: licence line, forbidden functions, unfinished work, layout.

Usage: manners.py SOURCE_FOLDER | --self-test
Layout is checked with clang-format when it is installed.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FOLDERS = ("base", "hal", "crypto", "media", "uploader", "jobs", "daemon", "ctl", "tests", "scripts", ".ci")
# Numbers are parsed by bth_parse_u64(), strings are bounded, nothing is left undone.
FORBIDDEN = {
    r"\b(strtol|strtoul|strtoll|strtoull|atoi|atol|atoll)\s*\(": "parse numbers with bth_parse_u64()",
    r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\(": "use a bounded function",
    r"\b(TODO|FIXME|XXX|HACK)\b": "finish it or write down why it is right as it is",
    r"\bsystem\s*\(|\bpopen\s*\(": "start programs without a shell",
}
# Tests may build small texts with strcat(); they are not shipped.
TEST_MAY = re.compile(r"strcat")


def check_c(name: str, text: str) -> list[str]:
    faults = []
    if not text.startswith("/* SPDX-License-Identifier: GPL-3.0-or-later */"):
        faults.append(f"{name}:1: the first line is not the licence")
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        for pattern, advice in FORBIDDEN.items():
            match = re.search(pattern, code)
            if match and not (name.startswith("tests/") and TEST_MAY.search(match.group(0))):
                faults.append(f"{name}:{number}: {match.group(0).strip()}: {advice}")
        if "\t" in line:
            faults.append(f"{name}:{number}: a tab; indent with blanks")
        if len(line) > 120:
            faults.append(f"{name}:{number}: longer than 120 columns")
    return faults


def check(root: pathlib.Path) -> list[str]:
    faults = []
    sources = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = str(path.relative_to(root))
            if "/corpus/" in name or "node_modules" in name or not path.is_file():
                continue
            if path.suffix in (".c", ".h"):
                sources.append(str(path))
                faults += check_c(name, path.read_text(encoding="utf-8"))
            elif path.suffix in (".py", ".sh", ".js", ".mjs") or path.name == "meson.build":
                if "SPDX-License-Identifier" not in path.read_text(encoding="utf-8")[:200]:
                    faults.append(f"{name}:1: no licence line")
            elif folder in ("scripts", ".ci") and path.suffix == "":
                faults += check_shell(name, path)
    return faults + check_layout(root, sources)


def check_shell(name: str, path: pathlib.Path) -> list[str]:
    if not path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash"):
        return []
    faults = []
    run = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    if run.returncode:
        faults.append(f"{name}: {run.stderr.strip()}")
    if shutil.which("shellcheck"):
        run = subprocess.run(["shellcheck", "-S", "warning", "-f", "gcc", str(path)], capture_output=True, text=True)
        if run.returncode:
            faults.append(run.stdout.strip())
    return faults


def check_layout(root: pathlib.Path, sources: list[str]) -> list[str]:
    if not shutil.which("clang-format") or not sources:
        return []
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *sources], capture_output=True, text=True, cwd=root)
    lines = [line for line in run.stderr.splitlines() if "error:" in line]
    return [line.replace(str(root) + "/", "") for line in lines[:20]]


def self_test() -> bool:
    good = "/* SPDX-License-Identifier: GPL-3.0-or-later */\nint x; /* strings may say it */\nconst char *s = \"atoi(\";\n"
    bad = "int x = atoi(y);\n/* TODO */\n\tint z;\n"
    return not check_c("base/a.c", good) and len(check_c("base/a.c", bad)) == 4


def main() -> int:
    if sys.argv[1] == "--self-test":
        return 0 if self_test() else 1
    faults = check(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(faults) or "all manners kept")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
