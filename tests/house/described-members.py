#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails when a body that docs/openapi-importexport.json describes has other members than the tables of daemon/rest-body.c,
or another kind of them, or needs others. (Its paths and operations are held against the code by tests/unit/test-rest.c, those
of docs/openapi.json by tests/unit/test-api.c and tests/integration/api-openapi.py.)

Usage: described-members.py SOURCE_FOLDER | --self-test
"""
import json
import pathlib
import re
import sys

TABLE = re.compile(r"static const struct member (\w+)\[\] = \{(.*?)\n\};", re.S)
ENTRY = re.compile(r'\{ "(\w+)", MEMBER_(\w+), (true|false) \}')
# Table -> where the schema is.
SCHEMAS = {
    "address_members": ("ReturnAddress",), "shipping_members": ("ReturnShipping",), "package_members": ("DeliveryPackage",),
    "drive_members": ("NewDrive",), "put_members": ("PutJobParameters",), "put_properties": ("PutJobParameters", "properties"),
    "patch_members": ("UpdateJobParameters",), "patch_properties": ("UpdateJobParameters", "properties"),
}
KINDS = {"TEXT": "string", "NUMBER": "integer", "BOOL": "boolean", "OBJECT": "object", "ARRAY": "array", "ANY": None}
# What is described more narrowly than by a type.
NARROWER = {("patch_properties", "cancelRequested"), ("patch_properties", "state"), ("put_properties", "export")}


def tables(code: str) -> "dict[str, dict[str, tuple[str, bool]]]":
    return {name: {member: (kind, required == "true") for member, kind, required in ENTRY.findall(text)}
            for name, text in TABLE.findall(code)}


def check(code: str, schemas: dict) -> "list[str]":
    faults, found = [], tables(code)
    for name in sorted(found.keys() ^ SCHEMAS.keys()):
        faults.append(f"{name}: is a table or a schema, and not both")
    for name in sorted(found.keys() & SCHEMAS.keys()):
        schema = schemas[SCHEMAS[name][0]]
        for step in SCHEMAS[name][1:]:
            schema = schema["properties"][step]
        if schema.get("additionalProperties") is not False:
            faults.append(f"{name}: others are not excluded in the description")
        for member in sorted(found[name].keys() ^ schema["properties"].keys()):
            faults.append(f"{name}: {member} is in one of code and description only")
        for member, (kind, required) in found[name].items():
            described = schema["properties"].get(member, {})
            described = schemas[described["$ref"].rsplit("/", 1)[1]] if "$ref" in described else described
            if (name, member) not in NARROWER and described.get("type") != KINDS[kind]:
                faults.append(f"{name}: {member} is {described.get('type')} in the description, {kind} in the code")
            if required != (member in schema.get("required", [])):
                faults.append(f"{name}: {member} is required in one of code and description only")
    return faults


def self_test() -> bool:
    global SCHEMAS
    SCHEMAS = {"a_members": ("A",)}
    code = 'static const struct member a_members[] = {\n{ "x", MEMBER_TEXT, true },\n{ NULL, MEMBER_ANY, false },\n};\n'
    good = {"A": {"properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}}
    bad = [{"A": good["A"] | {"properties": {}}}, {"A": good["A"] | {"required": []}}, {"A": good["A"] | {"additionalProperties": True}},
           {"A": good["A"] | {"properties": {"x": {"type": "integer"}}}},
           {"A": good["A"] | {"properties": good["A"]["properties"] | {"y": {}}}}]
    return not check(code, good) and all(check(code, one) for one in bad)


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return 0 if self_test() else 1
    root = pathlib.Path(sys.argv[1])
    description = json.loads((root / "docs/openapi-importexport.json").read_text(encoding="utf-8"))
    faults = check((root / "daemon/rest-body.c").read_text(encoding="utf-8"), description["components"]["schemas"])
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
