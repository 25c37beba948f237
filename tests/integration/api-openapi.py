#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/openapi.json against a real station: every operation is asked what it is for, and the answers have no member that
is not described. What comes of asking at random is in api-scan.py.

Usage: api-openapi.py        (skips with 77 where python3-jsonschema is missing)
"""
import copy
import json
import os
import pathlib
import re
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
EVENT = {"specversion": "1.0", "id": "6ec95a73-7a0c-4c1e-9c63-5d1be3a1a0c4-7", "source": "/stations/a", "type": "berth.drive.docked",
         "subject": "drives/X1", "partitionkey": "drives/X1", "time": "2031-04-09T07:15:02.118000Z",
         "datacontenttype": "application/json", "sequence": f"{7:020}", "data": {"driveId": "X1", "bay": "A1", "sizeBytes": 5}}
INSIDE = {"HUB_EVENTS": {"events"}, "HUB_JOBS": {"if_none_match"}}  # how the body and a header come to the verb
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
        if status >= 500 or str(status) not in op["responses"]:
            raise AssertionError(f"{name}: {status}: {content[:400]}")
        answer = op["responses"][str(status)]
        if "$ref" in answer:
            answer = DESCRIPTION["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
        kind, = [kind for kind in answer["content"] if kind != "text/event-stream"]
        schema = dict(strict(answer["content"][kind]["schema"]), components=STRICT)
        value = json.loads(content) if kind == "application/json" else content.decode()
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
    assert ask("HUB_EVENTS", [EVENT, {}])["applied"] == 1
    assert ask("HUB_JOBS", query="?serials=TWO2")["jobs"] and ask("HUB_DRIVES")["drives"] and ask("HUB_STATIONS")["stations"]
    ask("HUB_EVENTS", [EVENT | {"source": "/stations/b"}])
    assert ask("HUB_CONFLICTS")["conflicts"][0]["conflict"] == "docked-twice"
    assert "berth_bays" in ask("METRICS")
    missing = set(client.operations) - set(client.asked)
    assert not missing, f"not asked: {missing}"


def check_members(client):
    """Each operation takes the members that are described, in the query too, and none of all those that others take or that
    any verb's list in the code has."""
    code = "".join(path.read_text() for path in SOURCE.glob("daemon/verbs-*.c"))
    lists = re.findall(r"static const char \*const \w*(?:members|_only)\[\] = \{(.*?)\}", code, re.S)
    described = {}
    for name, (_, _, op) in client.operations.items():
        schema = next(iter(op.get("requestBody", {}).get("content", {}).values()), {}).get("schema", {})
        if "$ref" in schema:
            schema = DESCRIPTION["components"]["schemas"].get(schema["$ref"].rsplit("/", 1)[1], {})
        described[name] = {p["name"] for p in op.get("parameters", []) if p["in"] == "query"} | set(schema.get("properties", {}))
    assert len(lists) > 10
    every = set().union(*described.values(), *(re.findall(r'"(\w+)"', one) for one in lists))
    for name, (method, path, _) in client.operations.items():
        if name == "METRICS":  # has no query at all
            continue
        path = path.replace("{bay}", "A1").replace("{drive}", "NONE").replace("{job}", "none").replace("{event}", "7")
        for member in sorted(every - INSIDE.get(name, set())):
            status, content = client.send(method, f"{path}?{member}=", b"[]" if name == "HUB_EVENTS" else None)
            refused = status == 400 and f"there is no member '{member}' here" in content.decode()
            assert refused == (member not in described[name]), f"{name}: {member}: {status}: {content}"


def main():
    with tempfile.TemporaryDirectory(prefix="berth-openapi-") as folder:
        server = types.SimpleNamespace(key="a2V5a2V5", account="photos", port=9,
                                       endpoint="http://127.0.0.1:9/photos", ca_file=None)
        with Station(pathlib.Path(folder), server, bays=2) as station:
            client = Client(station)
            use_all(client)
            check_members(client)
            assert station.stop() == 0


if __name__ == "__main__":
    main()
