#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of a store against docs/berth-event.schema.json, by a library that knows nothing of us:
everything that can happen to jobs and drives happens, in orders of three seeds; every event fits its
schema, the schema's words are those of the code, no event carries what is secret, and an event that
is changed anywhere is refused.

    event-schema.py ALL-EVENTS"""
import copy
import json
import os
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    print("SKIP: cannot run here: python3-jsonschema is not installed")
    sys.exit(77)

SOURCE = os.environ.get("BERTH_SOURCE", os.path.join(os.path.dirname(__file__), "../.."))
SCHEMA = os.path.join(SOURCE, "docs/berth-event.schema.json")


def events_of(program, seed):
    with tempfile.TemporaryDirectory(prefix="berth-event-") as folder:
        out = subprocess.run([program, os.path.join(folder, "store"), str(seed)], check=True,
                             stdout=subprocess.PIPE, timeout=120).stdout
    lines = out.decode().splitlines()
    return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]


def check_words(schema, words):
    defs = schema["$defs"]
    same = [
        (schema["properties"]["type"]["enum"], ["berth." + t for t in words["types"]]),
        (defs["jobState"]["enum"], words["jobStates"]),
        (defs["driveState"]["enum"], words["driveStates"]),
        (defs["copyStatus"]["enum"], ["InProgress"] + words["driveStatuses"]),
        (defs["activity"]["enum"], words["activities"]),
        (defs["job"]["properties"]["alert"]["enum"], words["alerts"]),
    ]
    for in_schema, in_code in same:
        assert sorted(in_schema) == sorted(in_code), (in_schema, in_code)
    of = [w["properties"]["type"]["enum"] for w in schema["oneOf"]]
    assert sorted(sum(of, [])) == sorted("berth." + t for t in words["types"]), of


def known_members(schema, event):
    """Members that the schema does not describe are a page that was forgotten."""
    assert set(event) <= set(schema["properties"]), set(event) - set(schema["properties"])
    for way in schema["oneOf"]:
        if event["type"] in way["properties"]["type"]["enum"]:
            part = schema["$defs"][way["properties"]["data"]["$ref"].rsplit("/", 1)[1]]
            names = set(part["properties"])
            if "allOf" in part:
                names |= set(schema["$defs"]["ofJob"]["properties"])
            assert set(event["data"]) <= names, set(event["data"]) - names


def changed(event):
    """Each required thing taken away, and each value made another type."""
    for name in event:
        if name in ("data", "berthactor"):
            continue
        e = copy.deepcopy(event)
        del e[name]
        yield name, e
        e = copy.deepcopy(event)
        e[name] = 7
        yield name, e
    for name in event["data"]:
        e = copy.deepcopy(event)
        e["data"][name] = [1]
        yield "data." + name, e
    e = copy.deepcopy(event)
    e["data"] = {}
    yield "data", e


def main():
    with open(SCHEMA, encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    seen = {}
    for seed in (1, 20, 300):
        words, events = events_of(sys.argv[1], seed)
        check_words(schema, words)
        for e in events:
            for error in validator.iter_errors(e):
                sys.exit(f"seed {seed}: {error.message}\n{json.dumps(e, indent=1)}")
            known_members(schema, e)
            seen.setdefault(e["type"], e)
        print(f"seed {seed}: {len(events)} events fit")
    missing = set(schema["properties"]["type"]["enum"]) - set(seen)
    assert not missing, f"never happened: {missing}"
    n = 0
    for event in seen.values():
        for what, e in changed(event):
            if validator.is_valid(e):
                sys.exit(f"{event['type']} with another {what} fits, too: {json.dumps(e)}")
            n += 1
    print(f"{n} changed events do not")


if __name__ == "__main__":
    main()
