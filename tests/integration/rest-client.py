#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The official client of the job service, @azure/arm-storageimportexport, unmodified, over TLS with a test authority:
it makes a job for a drive that berth-prep prepared, ships it, and follows it to Completed, while the drive is docked here
and copied to the emulator; it lists, updates, cancels, deletes, reads keys, and gets the documented errors.

Usage: rest-client.py        (skips with 77 where the client or the emulator cannot be had)
"""
import base64
import http.client
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from importing import drive, driveset, prep  # noqa: E402
from service import GROUP, SUBSCRIPTION, Service, account_id  # noqa: E402

SCRIPT = pathlib.Path(__file__).with_suffix(".mjs")
SERIAL = "QX7TESTDRV01"
LIMIT_SEC = 400
STEPS = ["places", "followToCompleted", "lists", "updates", "keys", "faults", "cancelAndDelete"]
READ = """
    const found = {};
    for (const name of args) {
        const container = service.getContainerClient(name);
        for await (const b of container.listBlobsFlat())
            found[name + '/' + b.name] = b.properties.contentLength
                ? (await container.getBlobClient(b.name).downloadToBuffer()).toString('base64') : '';
    }
    return found;"""


def prepare(folder: pathlib.Path) -> "tuple[pathlib.Path, dict, dict]":
    """A drive with a few files, what a job says of it, and the blobs that are to be."""
    dice, blobs = random.Random(3), {}
    (folder / "files").mkdir()
    for i in range(20):
        data = dice.randbytes(dice.choice((0, 700, 300_000)))
        (folder / f"files/{i}.bin").write_bytes(data)
        blobs[f"attic/{i}.bin"] = data
    image, journal = drive(folder, SERIAL, 96), folder / "job.jrn"
    rows = folder / "dataset.csv"
    rows.write_text("BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\n"
                    f'"{folder}/files/",attic/,,,None,None\n')
    done = prep("import", "--journal", journal, "--session", "first", "--dataset", rows, "--driveset",
                driveset(folder, image))
    assert done.returncode == 0, done.stdout + done.stderr
    text = journal.read_text()

    def fact(name: str) -> str:
        return re.findall(rf"<{name}>([^<]*)</{name}>", text)[-1]

    return image, {"driveId": fact("DriveId"), "bitLockerKey": fact("BitLockerKey"),
                   "manifestFile": fact("ManifestFile"), "manifestHash": fact("ManifestHash")}, blobs


class Hands:
    """Who docks drives and sends them back, at the station's own socket."""

    def __init__(self, service: Service, image: pathlib.Path):
        self.service, self.image = service, image
        self.docked = service.folder / "A1" / image.name

    def call(self, method: str, path: str, body=None) -> dict:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.connect(str(self.service.folder / "run/berthd.sock"))
        connection.request(method, path, json.dumps(body) if body else None)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, content
        return content

    def dock(self) -> None:
        os.link(self.image, self.docked)

    def give_back(self) -> None:
        self.call("POST", "/v1/bays/A1/eject", {})
        self.docked.unlink()
        until = time.monotonic() + 60
        while self.call("GET", "/v1/bays/A1")["state"] != "empty":
            assert time.monotonic() < until, "the bay stays full"
            time.sleep(0.05)
        self.call("POST", "/v1/jobs/attic/return", {"scope": GROUP, "carrier": "CarrierX", "tracking": "BACK-1"})


def run_client(service: Service, server: Azurite, hands: Hands, drive_data: dict) -> list:
    ask = {"base": service.base, "npm": str(server.npm), "subscription": SUBSCRIPTION, "drive": drive_data,
           "account": account_id(server.account), "tokens": service.tokens | {"nobody": "nobody's"}}
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"NODE_EXTRA_CA_CERTS": str(service.ca), "BERTH_ASK": json.dumps(ask)}
    process = subprocess.Popen([server.node, SCRIPT], env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True)
    watch = threading.Timer(LIMIT_SEC, process.kill)
    watch.start()
    lines = []
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            said = json.loads(line)
            lines.append(said)
            {"dock": hands.dock, "return": hands.give_back}.get(said.get("now"), lambda: None)()
        assert process.wait() == 0, "the client met something that it did not expect"
    finally:
        watch.cancel()
        if process.poll() is None:
            process.kill()
        process.wait()
    return lines


def main() -> None:
    with Azurite(tls=True) as server, tempfile.TemporaryDirectory(prefix="berth-client-") as name:
        folder = pathlib.Path(name)
        image, drive_data, blobs = prepare(folder)
        credential = folder / "account.key"
        credential.touch(mode=0o600)
        credential.write_text(server.key + "\n")
        accounts = (f"[account {server.account}]\nendpoint = {server.endpoint}\ncredential = key\n"
                    f"credential_file = {credential}\nca_file = {server.ca_file}\n")
        with Service(folder / "service", accounts=accounts, bays=["A1"]) as service:
            lines = run_client(service, server, Hands(service, image), drive_data)
            log = service.log()
        assert [line["done"] for line in lines if "done" in line] == STEPS, lines
        found = {blob: base64.b64decode(data) for blob, data in server.client(READ, "attic").items()}
        assert found == blobs, "what arrived is not what was prepared"
        drive_end = next(line["drive"] for line in lines if "drive" in line)
        logs = server.client(READ, "waimportexport")
        for member in ("verboseLogUri", "manifestUri"):
            uri = drive_end[member]
            assert uri.startswith(server.endpoint + "/waimportexport/"), uri
            assert uri[len(server.endpoint) + 1:] in logs, (uri, list(logs))
        assert "jobs/listBitLockerKeys/action of job attic: done" in log
        for secret in (drive_data["bitLockerKey"], *service.tokens.values()):
            assert secret not in log


if __name__ == "__main__":
    try:
        main()
    except Missing as missing:
        print(f"SKIP: cannot run here: {missing}")
        sys.exit(77)
