#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A station, a hub, and a door between them that speaks TLS with both.

parked   the door alters events, so that the hub refuses them as an older one would: they are parked and shown with the
         hub's sentence, hold nothing back, are sent again in their place, or given up; all of it over a restart.
tls      the door asks for a client certificate: token and certificate both have to be right; each that is not has a
         sentence that says which; a hub of another authority or another name is told nothing.
elsewhere  a drive that another station has done is not copied again, though the station fetched its jobs before that; one
         that is docked while nobody answers is copied.
"""
import http.client
import http.server
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from berthd import Refused, Station, ask  # noqa: E402
from service import Service  # noqa: E402

BUILD = pathlib.Path(os.environ["BERTH_BUILD"])
JOURNAL = ("<Drive><DriveId>{}</DriveId><BitLockerKey>447062-369370-282953-484484-205029-308352-340461-184679"
           "</BitLockerKey><ManifestFile>\\DriveManifest.xml</ManifestFile>"
           "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>")


class Door:
    """Forwards each request to the hub. `old`: types of events that become unknown on their way."""

    def __init__(self, hub: Service, certificate: pathlib.Path, key: pathlib.Path, client_ca=None):
        self.old: "set[str]" = set()
        self.open = threading.Event()
        self.open.set()
        self.requests: "list[str]" = []
        door = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.request.settimeout(30)
                try:
                    self.request.do_handshake()
                except ssl.SSLError:  # what is left unread would tear the alert away that says why
                    while socket.socket.recv(self.request, 4096):
                        pass
                    raise

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                door.requests.append(self.path)
                door.open.wait()
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
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


def station(folder: pathlib.Path, name: str, keys: str, poll: str = "1s", bays: int = 1) -> Station:
    server = types.SimpleNamespace(key="a2V5a2V5", account="photos", port=9, endpoint="http://127.0.0.1:9/photos", ca_file=None)
    return Station(folder, server, bays=bays, name=name, keys=f"job_service_poll = {poll}\n{keys}")


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


# --- elsewhere ---

UID = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8"


def done_by_east(hub: Service, job: str, serial: str) -> None:
    subject = f"jobs/{job}/drives/{serial}"
    event = {"specversion": "1.0", "id": f"{UID}-1", "sequence": f"{1:020}", "source": "/stations/east", "subject": subject,
             "type": "berth.drive.state", "partitionkey": subject, "time": "2031-04-09T07:15:02.118000Z",
             "data": {"job": job, "origin": "upstream", "driveId": serial, "state": "CompletedMoreInfo",
                      "copyStatus": "CompletedWithErrors", "activity": "safe-to-remove", "bytes": 900, "bytesSucceeded": 880,
                      "blobs": 9, "blobsSucceeded": 8}}
    answer = hub.ask("POST", "/v1/hub/events", json.dumps(event).encode(), version=None,
                     headers={"Content-Type": "application/cloudevents+json"})
    assert answer.status == 200 and answer.json["applied"] == 1, answer.text


def check_elsewhere(folder: pathlib.Path) -> None:
    folder.mkdir()
    account = ("[account photos]\nendpoint = http://127.0.0.1:9/photos\nallow_plain = yes\ncredential = key\n"
               f"credential_file = {folder}/no\n")
    with Service(folder / "hub", accounts=account) as hub, \
            Door(hub, hub.folder / "server.pem", hub.folder / "server.key") as door:
        status, answer = ask(hub.folder / "run/berthd.sock", "POST", "/v1/jobs", {
            "name": "voyage", "account": "photos", "accept_unshipped": True,
            "journals": [{"name": f"{s}.jrn", "text": JOURNAL.format(s)} for s in ("SEA1", "SEA2")]})
        assert status == 200, answer
        with station(folder, "west", f"job_service = {door.base}\njob_service_token = {token_of(hub)}\n"
                                     f"job_service_ca = {hub.ca}\n", poll="1h", bays=2) as at:
            at.wait(lambda: at.get("/v1/jobs")["jobs"], what="the job")
            done_by_east(hub, "voyage", "SEA1")
            assert at.drive("SEA1")["state"] == "Specified"
            for bay, serial in (("A1", "SEA1"), ("A2", "SEA2")):
                (at.folder / f"{serial}.img").write_bytes(os.urandom(1 << 20))
                at.dock(at.folder / f"{serial}.img", bay)
                if serial == "SEA1":
                    at.wait_drive("SEA1", state="CompletedMoreInfo", docked=True, bytes=900, bytes_done=880)
                    at.wait_bay("A1", activity="safe-to-remove", led="safe")
                    door.open.clear()  # from now on nobody answers
            at.wait_drive("SEA2", copy_status="InProgress")
            kinds = [(e["kind"], e["data"].get("state")) for e in at.get("/v1/events?drive=SEA1")["events"]]
            assert ("drive.state", "Transferring") not in kinds and ("drive.docked", None) in kinds, kinds
            door.open.set()
    print("what another station has done is not done again, and an outage stops nothing")


# --- tls ---


def openssl(folder: pathlib.Path, *args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)


def authority(folder: pathlib.Path, name: str) -> None:
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN=The {name} authority", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def certificate(folder: pathlib.Path, name: str, by: str, days: int = 2, names: str = "DNS:east") -> None:
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (folder / "names").write_text(f"subjectAltName={names}\n")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial",
            "-days", str(days), "-extfile", "names", "-out", f"{name}.pem")
    (folder / f"{name}.key").chmod(0o600)


class Trial:
    """One station, told of the door in ever other ways."""

    def __init__(self, at: Station, door: Door, folder: pathlib.Path):
        self.at, self.door, self.folder = at, door, folder
        self.text = at.config.read_text()

    def tell(self, **keys: str) -> None:
        lines = [f"job_service_{key} = {self.folder / value}\n" for key, value in keys.items() if value]
        self.door.requests.clear()
        self.at.configure(self.text.replace("job_service_poll", f"job_service = {self.door.base}\n" + "".join(lines) +
                                            "job_service_poll"))
        self.at.post("/v1/reload")

    def works(self, **keys: str) -> None:
        self.tell(**keys)
        self.at.wait(lambda: "fetched_at" in upstream(self.at) and "heard_at" in upstream(self.at), what=f"an answer with {keys}")
        assert "trouble" not in upstream(self.at), upstream(self.at)

    def fails(self, *words: str, reach: bool = False, **keys: str) -> None:
        """It says why in these words, and the hub gets nothing unless it is the hub that refuses."""
        self.tell(**keys)
        try:
            self.at.wait(lambda: all(w in upstream(self.at).get("trouble", "") for w in words), what=f"{words}", limit=30)
        finally:
            print(f"{keys}: {upstream(self.at).get('trouble')}")
        assert "heard_at" not in upstream(self.at) and bool(self.door.requests) == reach, self.door.requests


def check_tls(folder: pathlib.Path) -> None:
    folder.mkdir()
    for name in ("clients", "others"):
        authority(folder, name)
    certificate(folder, "good", "clients")
    certificate(folder, "stranger", "others")
    certificate(folder, "expired", "clients", days=-1)
    with Service(folder / "hub") as hub:
        certificate(hub.folder, "elsewhere", "ca", names="DNS:hub.example")
        (folder / "token").write_text(token_of(hub).read_text())
        (folder / "wrong").write_text("not-the-token-of-a-test\n")
        for name in ("token", "wrong"):
            (folder / name).chmod(0o600)
        good = {"ca": "hub/ca.pem", "token": "token", "cert": "good.pem", "key": "good.key"}
        with Door(hub, hub.folder / "server.pem", hub.folder / "server.key", folder / "clients.pem") as door, \
                station(folder, "east", "") as at:
            trial = Trial(at, door, folder)
            trial.works(**good)
            trial.fails("certificate", "authority", **good | {"cert": "stranger.pem", "key": "stranger.key"})
            trial.fails("certificate", "expired", **good | {"cert": "expired.pem", "key": "expired.key"})
            trial.fails("asks for a certificate", "job_service_cert", **good | {"cert": "", "key": ""})
            trial.fails("job_service_key", **good | {"key": "stranger.key"})
            trial.fails("refuses the token", reach=True, **good | {"token": "wrong"})
            trial.fails("refuses the token", reach=True, **good | {"token": ""})
            trial.fails("is not trusted", "issuer", **good | {"ca": "others.pem"})
            trial.fails("is not trusted", **good | {"ca": ""})
            trial.works(**good)
            assert hub.tokens["station"] not in at.log()
        with Door(hub, hub.folder / "elsewhere.pem", hub.folder / "elsewhere.key") as door, station(folder, "west", "") as at:
            Trial(at, door, folder).fails("is not trusted", "name", ca="hub/ca.pem", token="token")
    print("token, certificate and authority all have to be right")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-door-") as folder:
        check_parked(pathlib.Path(folder))
        check_elsewhere(pathlib.Path(folder) / "elsewhere")
        check_tls(pathlib.Path(folder) / "tls")
    return 0


if __name__ == "__main__":
    sys.exit(main())
