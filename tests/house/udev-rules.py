#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks our udev rules as far as that is possible without udevd (udevadm verify came after Debian 12).

Usage: udev-rules.py SOURCE_FOLDER | --self-test
Each line must be KEY{ATTRIBUTE}OP"VALUE" parts with commas between, with keys and operators that udev(7) knows; each
GOTO needs a LABEL behind it, a name leads to one place only, and programs that are run are named by their full path.
"""
import pathlib
import re
import sys

MATCH = {"==", "!="}
ASSIGN = {"=", "+=", "-=", ":="}
# Key: (operators, attribute allowed: False, True or "must").
KEYS = {
    "ACTION": (MATCH, False), "DEVPATH": (MATCH, False), "KERNEL": (MATCH, False), "KERNELS": (MATCH, False),
    "SUBSYSTEM": (MATCH, False), "SUBSYSTEMS": (MATCH, False), "DRIVER": (MATCH, False), "DRIVERS": (MATCH, False),
    "ATTR": (MATCH | {"="}, "must"), "ATTRS": (MATCH, "must"), "ENV": (MATCH | ASSIGN, "must"),
    "CONST": (MATCH, "must"), "TAG": (MATCH | ASSIGN, False), "TAGS": (MATCH, False), "TEST": (MATCH, True),
    "PROGRAM": (MATCH | {"="}, False), "RESULT": (MATCH, False), "NAME": (MATCH | ASSIGN, False),
    "SYMLINK": (MATCH | ASSIGN, False), "OWNER": (ASSIGN - {"-="}, False), "GROUP": (ASSIGN - {"-="}, False),
    "MODE": (ASSIGN - {"-="}, False), "RUN": (ASSIGN, True), "LABEL": ({"="}, False), "GOTO": ({"="}, False),
    "IMPORT": (MATCH | {"="}, "must"), "OPTIONS": (ASSIGN - {"-="}, False),
}
IMPORTS = {"program", "builtin", "file", "db", "cmdline", "parent"}
PART = re.compile(r'\s*([A-Z]+)(?:\{([^}]*)\})?\s*(==|!=|\+=|-=|:=|=)\s*"((?:\\.|[^"\\])*)"\s*')


def parse(line: str) -> tuple[list[tuple[str, str | None, str, str]], str | None]:
    """The parts of a rule, and what is wrong with its form."""
    parts, at = [], 0
    while at < len(line):
        match = PART.match(line, at)
        if not match:
            return parts, f"cannot be read from '{line[at:at + 30]}' on"
        parts.append((match.group(1), match.group(2), match.group(3), match.group(4)))
        at = match.end()
        if at < len(line):
            if line[at] != ",":
                return parts, f"no comma before '{line[at:at + 30]}'"
            at += 1
            if not line[at:].strip():
                return parts, "a comma at the end"
    return parts, None


def check_part(key: str, attribute: str | None, operator: str, value: str) -> str | None:
    if key not in KEYS:
        return f"there is no key {key}"
    operators, wants = KEYS[key]
    if operator not in operators:
        return f"{key} does not take {operator}"
    if attribute is None and wants == "must" or attribute is not None and not wants:
        return f"{key} and {{...}} do not fit"
    if key == "IMPORT" and attribute not in IMPORTS:
        return f"there is no IMPORT{{{attribute}}}"
    if key == "MODE" and not re.fullmatch(r"0[0-7]{3}", value):
        return f"{value} is no mode"
    if key == "RUN" and operator != "-=" and attribute != "builtin" and not value.startswith("/"):
        return f"the program '{value.split()[0] if value else ''}' has no full path"
    if key == "OPTIONS" and not re.fullmatch(r"(no)?watch|link_priority=-?\d+|string_escape=(none|replace)|"
                                             r"static_node=\S+|db_persist|dump|log_level=\w+", value):
        return f"there is no option {value}"
    return None


def check_text(text: str) -> list[tuple[int, str]]:
    faults, labels, gotos = [], {}, []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        number += 1
        start, line = number, lines[number - 1].strip()
        while line.endswith("\\") and not line.startswith("#") and number < len(lines):
            line = line[:-1] + lines[number].strip()
            number += 1
        if not line or line.startswith("#"):
            continue
        parts, fault = parse(line)
        if fault:
            faults.append((start, fault))
        for key, attribute, operator, value in parts:
            fault = check_part(key, attribute, operator, value)
            if fault:
                faults.append((start, fault))
            elif key == "LABEL":
                if value in labels:
                    faults.append((start, f"a second label {value}"))
                labels[value] = start
            elif key == "GOTO":
                gotos.append((start, value))
    for start, name in gotos:
        if labels.get(name, 0) <= start:
            faults.append((start, f"no label {name} behind it"))
    used = {name for _, name in gotos}
    faults += [(start, f"nothing goes to {name}") for name, start in labels.items() if name not in used]
    return sorted(faults)


def check(root: pathlib.Path) -> list[str]:
    rules = sorted((root / "systemd").glob("*.rules"))
    faults = [] if rules else ["systemd/ has no udev rules"]
    for path in rules:
        text = path.read_text(encoding="utf-8")
        if "SPDX-License-Identifier" not in text[:100]:
            faults.append(f"{path.relative_to(root)}:1: no licence line")
        faults += [f"{path.relative_to(root)}:{number}: {fault}" for number, fault in check_text(text)]
    return faults


def self_test() -> bool:
    good = ('# a comment\nKERNEL=="sd*", \\\n  ENV{A}="b", GOTO="end"\nOPTIONS:="nowatch", MODE:="0640"\n'
            'RUN+="/bin/true \\"x\\""\nTEST=="a/b", RUN{builtin}+="kmod load x"\nLABEL="end"\n')
    bad = ['KERNEL="sd*"', 'KERNELL=="a"', 'ENV=="a"', 'KERNEL{x}=="a"', 'KERNEL=="a" MODE="0600"', 'KERNEL=="a",',
           'GOTO="nowhere"', 'LABEL="unused"', 'MODE="rw"', 'RUN+="chgrp x"', 'IMPORT{magic}="x"', 'KERNEL=="a',
           'OPTIONS+="watchful"', 'LABEL="a"\nGOTO="a"']
    return not check_text(good) and all(check_text(text) for text in bad)


def main() -> int:
    if sys.argv[1] == "--self-test":
        return 0 if self_test() else 1
    faults = check(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(faults) or "the udev rules can be read")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
