# SPDX-License-Identifier: GPL-3.0-or-later
"""berthd with its job service on a free port of 127.0.0.1, over TLS with a test authority.

    with Service(folder, accounts="[account …]…", bays=["A1"]) as service:
        service.ask("GET", "/providers/Microsoft.ImportExport/operations?api-version=2021-01-01")
        service.base, service.ca, service.tokens["admin"]
"""
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import sys
import threading
import time

from azurite import make_certificates

BUILD = pathlib.Path(os.environ["BERTH_BUILD"])
START_LIMIT_SEC = 60
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-a"
JOBS = f"{GROUP}/providers/Microsoft.ImportExport/jobs"
VERSION = "2021-01-01"
LOCATIONS = """
[location westus]
title = West US
recipient = Berth station 1
street1 = 1 Dock Street
city = Quincy
state = WA
postal_code = 98848
country = US
phone = 5550100
carriers = CarrierX, CarrierY
additional = Ring twice
[location northeurope]
title = North Europe
alternates = westus
"""


def account_id(name: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-a/providers/Microsoft.Storage/storageAccounts/{name}"


class Answer:
    def __init__(self, status: int, headers, body: bytes):
        self.status, self.headers, self.text = status, headers, body.decode()
        self.json = json.loads(self.text) if self.text else None

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Service:
    def __init__(self, folder: pathlib.Path, accounts: str = "", bays=(), station: str = "", api: str = "",
                 program=None):
        self.folder, self.program = folder, program or BUILD / "daemon/berthd"
        self.lines: "list[str]" = []
        folder.mkdir(exist_ok=True)
        (folder / "run").mkdir(exist_ok=True)
        make_certificates(folder)
        (folder / "server.key").chmod(0o600)
        self.ca = folder / "ca.pem"
        self.tokens = {right: f"the-{right}-token-of-a-test" for right in ("read", "operate", "admin", "station")}
        self.write_tokens()
        text = (f"[station]\nname = test\nstate_directory = {folder}/state\nrun_directory = {folder}/run\n"
                f"worker = {BUILD}/uploader/berth-worker\n{station}\n"
                f"[api]\nlisten = 127.0.0.1:0\ncertificate = {folder}/server.pem\nkey = {folder}/server.key\n"
                f"tokens = {folder}/tokens\n{api}\n{LOCATIONS}{accounts}")
        for bay in bays:
            (folder / bay).mkdir(exist_ok=True)
            text += f"[bay {bay}]\ndirectory = {folder}/{bay}\n"
        (folder / "berthd.conf").write_text(text)

    def write_tokens(self, tokens=None) -> None:
        lines = [f"{right} {right}er {hashlib.sha256(token.encode()).hexdigest()}\n"
                 for right, token in (tokens or self.tokens).items()]
        path = self.folder / "tokens"
        path.touch(mode=0o600)
        path.write_text("".join(lines))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.log()[-8000:], file=sys.stderr)
        self.stop()

    def start(self) -> None:
        self.process = subprocess.Popen([self.program, "--config", self.folder / "berthd.conf", "--no-udev"],
                                        stderr=subprocess.PIPE, text=True, errors="replace")
        self.port = None
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        until = time.monotonic() + START_LIMIT_SEC
        while self.port is None:
            assert self.process.poll() is None and time.monotonic() < until, "berthd did not start:\n" + self.log()
            time.sleep(0.02)
        self.base = f"https://127.0.0.1:{self.port}"
        self.context = ssl.create_default_context(cafile=self.ca)

    def _read(self, process) -> None:
        for line in process.stderr:
            self.lines.append(line)
            found = re.search(r"the job service answers on .*, port (\d+)", line)
            if found:
                self.port = int(found[1])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert code == 0, f"berthd ended with {code}:\n" + self.log()

    def log(self) -> str:
        return "".join(self.lines)

    def reload(self) -> None:
        before = self.log().count("configuration was read again")
        self.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + START_LIMIT_SEC
        while self.log().count("configuration was read again") == before and time.monotonic() < until:
            time.sleep(0.02)

    def ask(self, method: str, path: str, body=None, right="admin", headers=None, version=VERSION) -> Answer:
        """One request; `right` None: without a token; `version` None: the path has it."""
        if version:
            path += ("&" if "?" in path else "?") + f"api-version={version}"
        headers = dict(headers or {})
        if right:
            headers.setdefault("Authorization", f"Bearer {self.tokens[right]}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


def job(account: str = "acctattic", serials=("QX7TESTDRV01",), location: str = "West US", **properties) -> dict:
    """A body of PUT, as specification 7.13 has it."""
    return {
        "location": location,
        "properties": {
            "storageAccountId": account_id(account), "jobType": "Import",
            "returnAddress": {"recipientName": "A. Tester", "streetAddress1": "1 Sample Way", "city": "Sampleton",
                              "stateOrProvince": "ST", "postalCode": "00001", "countryOrRegion": "US",
                              "phone": "5550199", "email": "ops@example.org"},
            "returnShipping": {"carrierName": "CarrierX", "carrierAccountNumber": "000111222"},
            "diagnosticsPath": "waimportexport", "logLevel": "Verbose", "backupDriveManifest": True,
            "driveList": [{"driveId": serial,
                           "bitLockerKey": "122221-244442-366663-488884-611105-013574-660000-720885",
                           "manifestFile": "\\DriveManifest.xml", "manifestHash": "0123456789ABCDEF0123456789ABCDEF",
                           "driveHeaderHash": ""} for serial in serials],
        } | properties,
    }
