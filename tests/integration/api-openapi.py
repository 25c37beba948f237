#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/openapi.json against a real station: every operation is asked what it is for, and the answers have no member that
is not described. Then a client that knows the description only asks at random, well and badly: whatever comes, the answer
is as described, and never one of the 5xx.

Usage: api-openapi.py [--seed N] [--requests N]        (skips with 77 where python3-jsonschema is missing)
"""
import argparse
import copy
import http.client
import json
import os
import pathlib
import random
import sys
import tempfile
import types
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from berthd import Station, UnixConnection  # noqa: E402

try:
    import jsonschema
except ImportError:
    print("SKIP: cannot run here: python3-jsonschema is missing")
    sys.exit(77)

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
DESCRIPTION = json.loads((SOURCE / "docs/openapi.json").read_text())
JOURNAL = ("<Drive><DriveId>{}</DriveId><BitLockerKey>447062-369370-282953-484484-205029-308352-340461-184679"
           "</BitLockerKey><ManifestFile>\\DriveManifest.xml</ManifestFile>"
           "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>")
ODD = ["", " ", "A1", "A2", "ONE1", "one 1", "TWO2", "one", "two", "none", "a/b", "%", "..", "ä€😀", "x" * 300, "-1", "0",
       "18446744073709551616", "null", "'; DROP TABLE jobs; --", "\u202e", "\x01"]
ODD_VALUES = [None, True, False, 0, -1, 1.5, 2**63 - 1, 2**64, "", [], {}, [[]], {"a": {"b": []}}, "x" * 5000]
KNOWN = {"bay": ["A1", "A2"], "drive": ["ONE1", "two2", "THREE3", "NEW1", "NEW2"], "job": ["one", "two", "three", "a"],
         "event": ["1", "7", "18446744073709551615"]}
PARCEL = {"carrier": "Blue Fox", "tracking": "1Z", "return_address": {"recipientName": "Anna"}}


def strict(schema):
    """The same, but a member that is not described is an error."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


STRICT = strict(copy.deepcopy(DESCRIPTION["components"]))


class Client:
    def __init__(self, station):
        self.station, self.asked = station, {}
        self.operations = {op["operationId"]: (method.upper(), path, op)
                           for path, methods in DESCRIPTION["paths"].items() for method, op in methods.items()}

    def send(self, method, target, body=None):
        connection = UnixConnection(self.station.socket, 60)
        try:
            connection.request(method, target, body, {"Content-Type": "application/json"} if body is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def check(self, name, status, content):
        """The answer is as it is described."""
        op = self.operations[name][2]
        if status >= 500:
            raise AssertionError(f"{name}: {status}: {content[:400]}")
        schema = (op["responses"]["200"] if status == 200 else DESCRIPTION["components"]["responses"]["Error"])
        schema = dict(strict(schema["content"]["application/json"]["schema"]), components=STRICT)
        value = json.loads(content)
        checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        for error in checker.iter_errors(value):
            raise AssertionError(f"{name}: {status}: {list(error.absolute_path)}: {error.message[:300]}")
        self.asked.setdefault(name, set()).add(status)
        return value

    def ask(self, name, body=None, expect=200, query="", **names):
        method, path, _ = self.operations[name]
        for key, value in names.items():
            path = path.replace("{" + key + "}", urllib.parse.quote(value, safe=""))
        status, content = self.send(method, path + query, None if body is None else json.dumps(body).encode())
        value = self.check(name, status, content)
        assert status == expect, f"{name}: {status} instead of {expect}: {value}"
        return value


def use_all(client):
    """Every operation does what it is for, once at least."""
    ask = client.ask
    for serial, name in (("ONE1", "one"), ("TWO2", "two"), ("THREE3", "three")):
        ask("JOB_IMPORT", {"name": name, "account": "photos", "accept_unshipped": name != "two",
                           "journals": [{"name": "a.jrn", "text": JOURNAL.format(serial)}]})
    ask("STATION_SHOW"), ask("CONFIG_SHOW"), ask("LIMITS_SHOW"), ask("RELOAD"), ask("PLACES_LIST")
    ask("LIMITS_SET", {"bandwidth_bytes_per_second": 0})
    (client.station.folder / "one.img").write_bytes(os.urandom(1 << 20))
    client.station.dock(client.station.folder / "one.img", "A1")
    client.station.wait(lambda: "drive" in ask("BAY_SHOW", bay="A1"), what="a drive in the bay")
    ask("BAYS_LIST"), ask("BAY_LOCATE", {"on": True}, bay="A1"), ask("BAY_LOCATE", {"on": False}, bay="A1")
    client.station.wait(lambda: "match" in ask("BAY_SHOW", bay="A1"), what="the drive to be looked up")
    ask("BAY_MATCH", {"drive": "ONE1", "job": "one"}, bay="A1")
    client.station.wait(lambda: "copy_status" in ask("DRIVE_SHOW", drive="ONE1"), what="a worker")
    ask("DRIVE_GIVE_UP", {}, drive="ONE1")  # its worker would wait for a blob server that is not there
    assert ask("DRIVE_LOGS", drive="ONE1")["runs"]
    ask("BAY_EJECT", bay="A1")
    ask("BAY_MATCH", {"drive": "TWO2"}, 409, bay="A1")  # it is safe to remove, and nothing more begins
    ask("DRIVE_EJECT", {}, 404, drive="TWO2")
    ask("JOB_SHIP", PARCEL, job="two"), ask("JOB_RECEIVE", job="two")
    ask("DRIVE_PAUSE", {"job": "two"}, drive="two2"), ask("DRIVE_RESUME", {}, drive="TWO2")
    ask("DRIVE_GIVE_UP", {}, drive="TWO2"), ask("DRIVE_RETRY", {}, 409, drive="TWO2")
    ask("DRIVE_MISSING", drive="THREE3"), ask("DRIVE_RECEIVE", drive="THREE3")
    ask("DRIVES_LIST"), ask("DRIVE_RECEIPT", drive="ONE1"), ask("JOBS_LIST"), ask("JOB_SHOW", job="one")
    ask("JOB_CANCEL", job="three")
    ask("JOB_JOURNALS", {"journals": [{"text": JOURNAL.format("FIVE5")}]}, 404, job="three")
    ask("JOB_FORGET", None, 409, job="two")  # it goes on
    ask("JOB_RETURN", {"carrier": "Blue Fox", "tracking": "2"}, job="two")
    ask("JOB_FORGET", job="two")
    ask("JOB_DELETE", None, 409, job="one")
    ask("JOB_IMPORT", {"name": "four", "account": "photos", "journals": [{"text": JOURNAL.format("FOUR4")}]})
    ask("JOB_JOURNALS", {"journals": [{"name": "b.jrn", "text": JOURNAL.format("FOUR4")}]}, job="four")
    ask("JOB_DELETE", job="four")
    ask("EVENTS_LIST", query="?order=newest&limit=1000")
    ask("OUTBOX_LIST"), ask("OUTBOX_RESEND", None, 404, event="7"), ask("OUTBOX_DROP", None, 404, event="7")
    missing = set(client.operations) - set(client.asked)
    assert not missing, f"not asked: {missing}"


def value_of(dice, schema, depth=0):
    """Something that the schema allows, mostly."""
    if "$ref" in schema:
        schema = DESCRIPTION["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        return dice.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        members = {k: value_of(dice, s, depth + 1) for k, s in schema.get("properties", {}).items()
                   if k in schema.get("required", []) or dice.random() < 0.5}
        if isinstance(schema.get("additionalProperties"), dict):
            members[dice.choice(ODD)] = dice.choice(ODD)
        return members
    if kind == "array":
        return [value_of(dice, schema["items"], depth + 1) for _ in range(dice.choice([0, 1, 1, 2, 33]))]
    if kind == "integer":
        return dice.choice([schema.get("minimum", 0), schema.get("maximum", 2**63 - 1), 1, 7, dice.getrandbits(40)])
    if kind == "boolean":
        return dice.random() < 0.5
    return dice.choice(ODD + ["photos", JOURNAL.format("NEW" + str(dice.randrange(20)))])


def spoil(dice, value):
    """One place of it becomes what it should not be."""
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(sorted(value))
        value[key] = spoil(dice, value[key])
        return value
    if isinstance(value, dict) and dice.random() < 0.5:
        return value | {dice.choice(ODD): dice.choice(ODD_VALUES)}
    if isinstance(value, list) and value and dice.random() < 0.7:
        value[0] = spoil(dice, value[0])
        return value
    return dice.choice(ODD_VALUES)


def body_of(dice, schema):
    value = value_of(dice, schema)
    if dice.random() < 0.3:
        value = spoil(dice, value)
    text = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    if dice.random() < 0.1:
        at = dice.randrange(len(text) + 1)
        text = text[:at] + dice.choice([b"", b"\0", b"\xff", b'"', b"{", b"[" * 3000]) + text[at + dice.randrange(2):]
    return text


def random_request(dice, client):
    name = dice.choice(sorted(client.operations))
    method, path, op = client.operations[name]
    query = []
    for p in op.get("parameters", []):
        if p["in"] == "path":
            chosen = dice.choice(KNOWN[p["name"]] if dice.random() < 0.7 else [o for o in ODD if o])
            path = path.replace("{" + p["name"] + "}", urllib.parse.quote(chosen, safe=""))
        elif dice.random() < 0.4:
            value = value_of(dice, p["schema"]) if dice.random() < 0.7 else dice.choice(ODD)
            query.append((p["name"], value))
    if dice.random() < 0.05:
        query.append((dice.choice(ODD), dice.choice(ODD)))
    if query:
        path += "?" + urllib.parse.urlencode(query)
    body = None
    if "requestBody" in op and dice.random() < 0.9:
        body = body_of(dice, op["requestBody"]["content"]["application/json"]["schema"])
    return name, method, path, body


def scan(client, seed, n):
    dice = random.Random(seed)
    statuses = {}
    for i in range(n):
        name, method, path, body = random_request(dice, client)
        try:
            status, content = client.send(method, path, body)
            client.check(name, status, content)
        except (AssertionError, OSError, http.client.HTTPException, ValueError) as e:
            raise AssertionError(f"seed {seed}, request {i}: {method} {path} {body!r:.500}: {e}") from e
        statuses[status] = statuses.get(status, 0) + 1
    assert client.station.process.poll() is None
    print(f"seed {seed}: {n} requests: {dict(sorted(statuses.items()))}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    jsonschema.Draft202012Validator.check_schema(DESCRIPTION["components"]["schemas"]["Job"])
    with tempfile.TemporaryDirectory(prefix="berth-openapi-") as folder:
        server = types.SimpleNamespace(key="a2V5a2V5", account="photos", port=9,
                                       endpoint="http://127.0.0.1:9/photos", ca_file=None)
        with Station(pathlib.Path(folder), server, bays=2) as station:
            client = Client(station)
            use_all(client)
            station.dock(station.folder / "one.img", "A2")  # one that no job names
            scan(client, options.seed, options.requests)
            assert station.stop() == 0


if __name__ == "__main__":
    main()
