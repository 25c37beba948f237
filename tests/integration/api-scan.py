#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scan of docs/openapi.json and docs/openapi-importexport.json by a client that knows nothing else (api-scan.mjs: requests
by fast-check, answers by ajv): a station and its hub are asked over TLS with a token of every right, well, at the borders and
badly, several requests at a time. There is no answer of the 5xx, none that is not described, none that is missing; both
daemons are well afterwards and stop with 0.

Usage: api-scan.py [--seed N] [--rounds N] [--minutes N]        (BERTH_SCAN_MINUTES does the same; skips with 77 where the
                                                                 client cannot be had)
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import SOURCE, Missing, npm_folder  # noqa: E402
from service import GROUP, SUBSCRIPTION, Service, account_id, job  # noqa: E402

SCRIPT = pathlib.Path(__file__).with_suffix(".mjs")
KEY = "447062-369370-282953-484484-205029-308352-340461-184679"
JOURNAL = ("<Drive><DriveId>{}</DriveId><BitLockerKey>" + KEY + "</BitLockerKey><ManifestFile>\\DriveManifest.xml</ManifestFile>"
           "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>")
API = "rate = 100000\nburst = 100000\n"
SCOPES = [GROUP, f"/subscriptions/{SUBSCRIPTION}"]
ROUNDS, RAW = 320, 40


def local(service: Service, method: str, path: str, body=None) -> dict:
    answer = service.ask(method, path, body, version=None)
    assert answer.status < 400, (path, answer.status, answer.text)
    return answer.json


def wait(holds, what: str):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        value = holds()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"never happened: {what}")


def settle(hub: Service, station: Service, folder: pathlib.Path) -> None:
    """Something of everything that can be asked for."""
    for name in ("one", "two", "three"):
        body = {"name": name, "account": "acctattic", "accept_unshipped": name == "one",
                "journals": [{"name": "a.jrn", "text": JOURNAL.format(name.upper() + "1")}]}
        local(station, "POST", "/v1/jobs", body)
        local(hub, "POST", "/v1/jobs", dict(body, name="hub-" + name))
    for at, names in ((hub, ("first", "second")), (station, ("third", "fourth"))):
        for name in names:
            answer = at.ask("PUT", f"{GROUP}/providers/Microsoft.ImportExport/jobs/{name}", job(serials=(f"{name}1",)))
            assert answer.status == 201, answer.text
    (folder / "one.img").write_bytes(os.urandom(1 << 20))
    for bay in ("A1", "A2"):
        (folder / f"{bay}.img").hardlink_to(folder / "one.img")
        (folder / f"{bay}.img").rename(folder / "station" / bay / f"{bay}.img")
    wait(lambda: len([b for b in local(station, "GET", "/v1/bays")["bays"] if "drive" in b]) == 2, "drives in both bays")
    wait(lambda: local(hub, "GET", "/v1/hub/drives")["drives"], "events at the hub")


def event(folder_uid: str, sequence: int, name: str, serial: str) -> dict:
    subject = f"jobs/{name}/drives/{serial}"
    return {"specversion": "1.0", "id": f"{folder_uid}-{sequence}", "source": "/stations/scan", "type": "berth.drive.activity",
            "subject": subject, "partitionkey": subject, "time": "2031-04-09T07:15:02.118000Z", "datacontenttype": "application/json",
            "sequence": f"{sequence:020}",
            "data": {"job": name, "jobId": 1, "driveId": serial, "state": "Transferring", "activity": "transferring", "sentence": "",
                     "docked": True, "running": True, "held": False, "unprocessed": False, "percentComplete": 10, "bytes": 100,
                     "bytesSucceeded": 10, "blobs": 10, "blobsSucceeded": 1, "bay": "A1"}}


def known() -> dict:
    """Names that exist, by member or parameter, so that requests come further than to the first look-up."""
    uid = "6ec95a73-7a0c-4c1e-9c63-5d1be3a1a0c4"
    jobs = ["one", "two", "three", "four", "five", "hub-one", "hub-two", "first", "second", "third", "fourth"]
    serials = ["ONE1", "two1", "THREE 1", "FOUR1", "first1", "third1", "A1"]
    address = job()["properties"]["returnAddress"]
    drives = [drive for n in range(30) for drive in job(serials=(f"REST{n}",))["properties"]["driveList"]]
    return {
        "bay": ["A1", "A2"], "event": ["1", "7", "18446744073709551615"], "drive": serials, "job": jobs, "name": jobs, "jobName": jobs, "serial": serials, "driveId": serials + ["NEW1", "NEW2"],
        "scope": SCOPES, "account": ["acctattic", account_id("acctattic")], "storageAccountId": [account_id("acctattic")],
        "location": ["westus", "West US", "northeurope"], "locationName": ["westus", "West US", "mars"],
        "subscriptionId": [SUBSCRIPTION], "resourceGroupName": ["rg-a"], "api-version": ["2016-11-01", "2020-08-01", "2021-01-01"],
        "jobType": ["Import"], "bitLockerKey": [KEY], "manifestHash": ["0123456789ABCDEF0123456789ABCDEF"], "manifestFile": ["\\DriveManifest.xml"],
        "serials": ["ONE1 TWO1", "A1"], "source": ["/stations/scan", "/stations/test"], "after_source": ["/stations/scan"],
        "text": [JOURNAL.format(s) for s in ("ONE1", "FOUR1", "NEW1", "NEW2", "NEW3")],
        "#/components/schemas/ReturnAddress": [address], "#/components/schemas/NewDrive": drives,
        "berth-event.schema.json": [event(uid, n, name, serial) for n in range(1, 40) for name, serial in (("hub-one", "ONE1"), ("hub-two", "TWO1"))],
    }


def scan(node: pathlib.Path, npm: pathlib.Path, hub: Service, station: Service, options) -> int:
    ask = {"npm": str(npm), "docs": str(SOURCE / "docs"), "ca": str(station.ca), "bases": {"station": station.base, "hub": hub.base},
           "tokens": station.tokens, "seed": options.seed, "rounds": options.rounds, "raw": options.raw, "known": known(),
           "minutes": options.minutes,
           # Some start a process each, and some take away what others ask for.
           "weights": {"JOB_JOURNALS": 2, "JOB_IMPORT": 2, "RELOAD": 1, "JOB_DELETE": 1, "Jobs_Delete": 1, "JOB_CANCEL": 1}}
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run([node, SCRIPT], env=environment | {"BERTH_ASK": json.dumps(ask)}, stdin=subprocess.DEVNULL,
                          timeout=240 + 90 * options.minutes).returncode


def well(service: Service) -> None:
    assert service.process.poll() is None, f"berthd ended with {service.process.returncode}"
    view = local(service, "GET", "/v1/station")
    assert view["healthy"] and not view["stopping"], view
    local(service, "GET", "/v1/jobs?limit=1000")
    local(service, "GET", "/v1/hub/drives")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--raw", type=int, default=RAW)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("BERTH_SCAN_MINUTES", 0)))
    options = parser.parse_args()
    try:
        node, npm = npm_folder() / "node_modules/node/bin/node", npm_folder("--scan")
    except Missing as missing:
        print(f"SKIP: cannot run here: {missing}")
        return 77
    print(f"seed {options.seed}", flush=True)
    account = "[account acctattic]\nendpoint = http://127.0.0.1:9/acctattic\nallow_plain = yes\ncredential = key\ncredential_file = {}/key\n"
    with tempfile.TemporaryDirectory(prefix="berth-scan-") as name:
        folder = pathlib.Path(name)
        (folder / "key").write_text("a2V5a2V5\n")
        (folder / "key").chmod(0o600)
        with Service(folder / "hub", accounts=account.format(folder), api=API) as hub:
            (folder / "token").write_text(hub.tokens["station"] + "\n")
            (folder / "token").chmod(0o600)
            above = (f"location = westus\njob_service = {hub.base}\njob_service_token = {folder}/token\njob_service_ca = {hub.ca}\n"
                     "job_service_poll = 1s\n")
            with Service(folder / "station", accounts=account.format(folder), bays=("A1", "A2"), station=above, api=API) as station:
                # One authority for both, so that the client needs one.
                (folder / "both.pem").write_text(hub.ca.read_text() + station.ca.read_text())
                settle(hub, station, folder)
                station_ca, station.ca = station.ca, folder / "both.pem"
                code = scan(node, npm, hub, station, options)
                station.ca = station_ca
                assert code == 0, f"see above; again with --seed {options.seed}"
                well(hub), well(station)
    return 0


if __name__ == "__main__":
    sys.exit(main())
