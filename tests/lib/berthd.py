# SPDX-License-Identifier: GPL-3.0-or-later
"""A station for tests: berthd with virtual bays, its configuration, and its local API over the Unix socket.

    with Station(folder, server, bays=4) as station:
        station.job("job-1", drive.journal)
        station.dock(drive.image, "A1")
        station.wait_drive("SERIAL", state="Completed")
        station.pull("A1")
"""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.parse

BUILD = pathlib.Path(os.environ["BERTH_BUILD"])
LIMIT_SEC = 180


class Refused(Exception):
    def __init__(self, status: int, error: dict):
        super().__init__(f"{status}: {error.get('message')}")
        self.status, self.error = status, error


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method: str, target: str, body=None, timeout: float = 60) -> "tuple[int, dict]":
    """One request over a Unix socket: the status and the answer."""
    connection = UnixConnection(path, timeout)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, target, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


class Station:
    """The blob server is an Azurite or a proxy in front of one (`port`). `keys` are more lines of [station]."""

    def __init__(self, folder: pathlib.Path, server, bays: int = 4, keys: str = "", port: "int | None" = None,
                 more: str = "", command: tuple = (), name: str = "station"):
        self.folder, self.server, self.command = folder / name, server, list(command)
        self.folder.mkdir(exist_ok=True)
        self.config = self.folder / "berthd.conf"
        self.socket = self.folder / "run" / "berthd.sock"
        self.credential = self.folder / "account.key"
        self.log_path = self.folder / "log"
        self.names = [f"A{i + 1}" for i in range(bays)]
        self.docked: "dict[str, pathlib.Path]" = {}
        self.process = None
        for bay in self.names:
            (self.folder / bay).mkdir(exist_ok=True)
        (self.folder / "run").mkdir(exist_ok=True)
        self.renew(server.key)
        endpoint = server.endpoint if port is None else server.endpoint.replace(f":{server.port}/", f":{port}/")
        self.configure(
            f"[station]\nname = {name}\nstate_directory = {self.folder}/state\nrun_directory = {self.folder}/run\n"
            f"worker = {BUILD}/uploader/berth-worker\n{keys}"
            + "".join(f"[bay {bay}]\ndirectory = {self.folder / bay}\n" for bay in self.names)
            + f"[account {server.account}]\nendpoint = {endpoint}\ncredential = key\ncredential_file = {self.credential}\n"
            + ("allow_plain = yes\n" if endpoint.startswith("http:") else f"ca_file = {server.ca_file}\n") + more)

    def configure(self, text: str) -> None:
        self.config.write_text(text)

    def renew(self, key: str) -> None:
        new = self.credential.with_suffix(".new")
        new.write_text(key + "\n")
        new.chmod(0o600)
        new.rename(self.credential)

    # --- the process ---

    def __enter__(self) -> "Station":
        self.start()
        return self

    def __exit__(self, kind, *_) -> None:
        self.kill()
        if kind is not None:
            print(self.log()[-8000:])

    def start(self) -> None:
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.command, BUILD / "daemon/berthd", "--config", self.config, "--no-udev"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait(self.answers, what="an answer from the daemon")

    def answers(self) -> bool:
        assert self.process.poll() is None, f"berthd ended with {self.process.returncode}: {self.log()[-4000:]}"
        try:
            return "version" in self.get("/v1/station")
        except OSError:
            return False

    def stop(self, limit: float = 30) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- the API ---

    def call(self, method: str, path: str, body: "dict | None" = None, timeout: float = 60) -> dict:
        status, content = ask(self.socket, method, path, body, timeout)
        if status >= 400:
            raise Refused(status, content.get("error", {}))
        return content

    def get(self, path: str) -> dict:
        return self.call("GET", path)

    def post(self, path: str, body: "dict | None" = None) -> dict:
        return self.call("POST", path, {} if body is None else body)

    def job(self, name: str, *journals: pathlib.Path, **more) -> dict:
        return self.post("/v1/jobs", {"name": name, "account": self.server.account, **more,
                                      "journals": [{"name": j.name, "text": j.read_text()} for j in journals]})

    def drive(self, serial: str) -> dict:
        return self.get("/v1/drives/" + urllib.parse.quote(serial, safe=""))

    def bay(self, name: str) -> dict:
        return self.get("/v1/bays/" + name)

    # --- hands ---

    def dock(self, image: pathlib.Path, bay: str) -> None:
        os.link(image, self.folder / bay / image.name)
        self.docked[bay] = self.folder / bay / image.name

    def pull(self, bay: str) -> None:
        self.docked.pop(bay).unlink()

    def free_bay(self) -> "str | None":
        return next((bay for bay in self.names if bay not in self.docked), None)

    # --- waiting ---

    def wait(self, holds, limit: float = LIMIT_SEC, what: str = "it"):
        """Until `holds()` is true; gives what it gave. Looks ten times a second."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            value = holds()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"never happened: {what}; {self.get('/v1/bays') if self.process.poll() is None else 'the daemon is gone'}")

    def wait_drive(self, serial: str, limit: float = LIMIT_SEC, **fields) -> dict:
        def fits():
            drive = self.drive(serial)
            return drive if all(drive.get(name) == value for name, value in fields.items()) else None
        return self.wait(fits, limit, f"drive {serial} with {fields}")

    def wait_bay(self, bay: str, limit: float = LIMIT_SEC, **fields) -> dict:
        def fits():
            view = self.bay(bay)
            return view if all(view.get(name) == value for name, value in fields.items()) else None
        return self.wait(fits, limit, f"bay {bay} with {fields}")
