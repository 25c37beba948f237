#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A station, a hub, and a door between them that speaks TLS with both.

parked   the door alters events, so that the hub refuses them as an older one would: they are parked and shown with the
         hub's sentence, hold nothing back, are sent again in their place, or given up; all of it over a restart.
tls      the door asks for a client certificate: token and certificate both have to be right; each that is not has a
         sentence that says which; a hub of another authority or another name is told nothing.
"""
import http.client
import http.server
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from berthd import Refused, Station  # noqa: E402
from service import Service  # noqa: E402

BUILD = pathlib.Path(os.environ["BERTH_BUILD"])
JOURNAL = ("<Drive><DriveId>{}</DriveId><BitLockerKey>447062-369370-282953-484484-205029-308352-340461-184679"
           "</BitLockerKey><ManifestFile>\\DriveManifest.xml</ManifestFile>"
           "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>")


class Door:
    """Forwards each request to the hub. `old`: types of events that become unknown on their way."""

    def __init__(self, hub: Service, certificate: pathlib.Path, key: pathlib.Path, client_ca=None):
        self.old: "set[str]" = set()
        self.requests: "list[str]" = []
        door = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                door.requests.append(self.path)
                for kind in door.old:
                    body = body.replace(f'"berth.{kind}"'.encode(), f'"berth.{kind[:-1]}_"'.encode())
                connection = http.client.HTTPSConnection("127.0.0.1", hub.port, context=hub.context, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                content = answer.read()
                self.send_response_only(answer.status)
                for name in ("Content-Type", "ETag", "Retry-After"):
                    if answer.getheader(name):
                        self.send_header(name, answer.getheader(name))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                connection.close()

            do_GET = do_POST = forward

            def log_message(self, *_args) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_args) -> None:
                pass  # a handshake that failed, as it is meant to

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        self.server = Server(("127.0.0.1", 0), Handler)
        # The handshake belongs to the thread of its connection, not to the one that accepts.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.base = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


def station(folder: pathlib.Path, name: str, keys: str) -> Station:
    server = types.SimpleNamespace(key="a2V5a2V5", account="photos", port=9, endpoint="http://127.0.0.1:9/photos", ca_file=None)
    return Station(folder, server, bays=1, name=name, keys=f"job_service_poll = 1s\n{keys}")


def upstream(at: Station) -> dict:
    return at.get("/v1/station")["job_service"]


def token_of(hub: Service) -> pathlib.Path:
    path = hub.folder / "station-token"
    path.touch(mode=0o600)
    path.write_text(hub.tokens["station"] + "\n")
    return path


def berthctl(at: Station, *words: str) -> str:
    done = subprocess.run([BUILD / "ctl/berthctl", *words, "--socket", at.socket], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, (words, done)
    return done.stdout


# --- parked ---

def settled(at: Station, hub: Service, n_parked: int):
    """All events went, but those that are parked."""
    view = upstream(at)
    return view["waiting"] == 0 and view["parked"] == n_parked and heard(hub) is not None


def heard(hub: Service):
    stations = hub.ask("GET", "/v1/hub/stations", version=None).json["stations"]
    return stations[0] if stations else None


def says(hub: Service, job: str) -> dict:
    """What the hub has of the job itself."""
    for view in hub.ask("GET", f"/v1/hub/drives?job={job}", version=None).json["drives"]:
        if "serial" not in view and "job_says" in view:
            return view["job_says"]
    return {}


def make(at: Station, name: str, serial: str) -> None:
    at.post("/v1/jobs", {"name": name, "account": "photos", "accept_unshipped": True,
                         "journals": [{"name": "a.jrn", "text": JOURNAL.format(serial)}]})


def check_parked(folder: pathlib.Path) -> None:
    with Service(folder / "hub") as hub, Door(hub, hub.folder / "server.pem", hub.folder / "server.key") as door, \
            station(folder, "east", f"job_service = {door.base}\njob_service_token = {token_of(hub)}\n"
                                    f"job_service_ca = {hub.ca}\n") as at:
        door.old = {"job.made", "drive.docked"}
        make(at, "attic", "ATTIC1")
        at.wait(lambda: settled(at, hub, 1), what="the refused event to be parked")
        [parked] = at.get("/v1/outbox")["parked"]
        assert parked["kind"] == "job.made" and parked["job"] == "attic" and parked["parked_at"], parked
        assert parked["refusal"] == "events of the type 'berth.job.mad_' are not known here", parked
        assert at.log().count(parked["refusal"]) == 1, at.log()

        # What comes later of the same job is not held back.
        at.post("/v1/drives/ATTIC1/receive")
        at.wait(lambda: settled(at, hub, 1) and says(hub, "attic").get("state") == at.get("/v1/jobs/attic")["state"],
                what="the hub's view")

        # Sent again too early, it is parked again; later, after a restart, it goes, and is late.
        number = str(parked["sequence"])
        assert number in berthctl(at, "outbox", "list")
        berthctl(at, "outbox", "resend", number)
        at.wait(lambda: settled(at, hub, 1) and at.log().count("not known here") == 2, what="the second refusal")
        assert at.stop() == 0
        at.start()
        door.old = {"drive.docked"}
        state, late = says(hub, "attic")["state"], heard(hub)["late"]
        berthctl(at, "outbox", "resend", number)
        at.wait(lambda: settled(at, hub, 0), what="an empty outbox")
        assert heard(hub)["late"] == late + 1 and says(hub, "attic")["state"] == state
        assert "refused nothing" in berthctl(at, "outbox", "list")

        # One that has none behind it is missing at the hub until it is sent again.
        (at.folder / "extra.img").write_bytes(os.urandom(1 << 20))
        at.dock(at.folder / "extra.img", "A1")
        at.wait(lambda: settled(at, hub, 1), what="the docking to be parked")
        assert heard(hub)["docked"] == 0
        door.old = set()
        [parked] = at.get("/v1/outbox")["parked"]
        berthctl(at, "outbox", "resend", str(parked["sequence"]))
        at.wait(lambda: settled(at, hub, 0) and heard(hub)["docked"] == 1, what="the docking at the hub")

        # Given up: the hub never has it, the history here has it and who gave it up.
        door.old = {"job.made"}
        make(at, "cellar", "CELLAR1")
        at.wait(lambda: settled(at, hub, 1), what="the next one to be parked")
        [parked] = at.get("/v1/outbox")["parked"]
        number = str(parked["sequence"])
        done = subprocess.run([BUILD / "ctl/berthctl", "outbox", "drop", number, "--socket", at.socket],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 4 and upstream(at)["parked"] == 1, done  # nobody said yes
        berthctl(at, "outbox", "drop", number, "--yes")
        at.wait(lambda: settled(at, hub, 0), what="an empty outbox")
        try:
            at.post(f"/v1/outbox/{number}/resend")
            raise AssertionError("it is gone, and was sent")
        except Refused as refused:
            assert refused.status == 404, refused
        acts = [e for e in at.get("/v1/events?job=cellar&limit=1000")["events"]]
        assert acts[0]["kind"] == "job.made" and str(acts[0]["sequence"]) == number, acts
        [act] = [e for e in acts if e["kind"] == "outbox.dropped"]
        assert act["who"].startswith("uid ") and act["data"]["sequence"] == parked["sequence"], act
        assert act["data"]["refusal"] == parked["refusal"] and "OUTBOX_DROP" in at.log(), at.log()
    print("refused events are parked, shown, sent again and given up")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-door-") as folder:
        check_parked(pathlib.Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
