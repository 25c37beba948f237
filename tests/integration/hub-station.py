#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub and two stations, over TLS: a job that is made at the hub comes to both with its keys, one of its drives is docked
at each, and the hub's view ends as theirs. The hub is killed while they are copied and is away for a while: nothing waits
for it, and nothing is lost. A job that is taken back at the hub ends at the stations.

Usage: hub-station.py        (skips with 77 where the emulator cannot be had)
"""
import os
import pathlib
import random
import signal
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from berthd import Refused, Station, ask  # noqa: E402
from prepared import Prepared  # noqa: E402
from service import Service  # noqa: E402

JOB, OTHER = "voyage", "cancelled"


class Hub(Service):
    """On the same port after it was killed, as stations know it."""

    def start(self) -> None:
        super().start()
        conf = self.folder / "berthd.conf"
        conf.write_text(conf.read_text().replace("listen = 127.0.0.1:0", f"listen = 127.0.0.1:{self.port}"))

    def local(self, method: str, path: str, body=None) -> dict:
        status, content = ask(self.folder / "run/berthd.sock", method, path, body)
        assert status < 400, (path, status, content)
        return content

    def crash(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def station(folder: pathlib.Path, server: Azurite, hub: Hub, name: str) -> Station:
    token = folder / "station-token"
    token.write_text(hub.tokens["station"] + "\n")
    token.chmod(0o600)
    return Station(folder, server, bays=1, name=name, keys=(
        f"job_service = {hub.base}\njob_service_token = {token}\njob_service_ca = {hub.ca}\njob_service_poll = 1s\n"
        "bandwidth = 2MiB\n"))


def make(folder: pathlib.Path, serial: str, dice: random.Random) -> Prepared:
    drive = Prepared(folder, serial)
    drive.credential = ""
    for i in range(3):
        drive.add(f"voyage/{serial}/file {i}", f"\\file {i}", dice.randbytes(3 << 20 if i == 0 else 5000 + i))
    drive.make()
    return drive


def known(at: Station, name: str, **fields):
    try:
        job = at.get("/v1/jobs/" + name)
    except Refused as refused:
        assert refused.status == 404, refused
        return None
    return job if all(job.get(key) == value for key, value in fields.items()) else None


def drives_of(job: dict) -> dict:
    return {d["serial"]: (d["state"], d.get("copy_status"), d.get("bytes_done", 0), d.get("blobs_done", 0)) for d in job["drives"]}


def run(folder: pathlib.Path, server: Azurite) -> None:
    dice = random.Random(20260)
    drives = {serial: make(folder, serial, dice) for serial in ("SEA1", "SEA2")}
    spare = make(folder, "SEA9", dice)
    account = (f"[account {server.account}]\nendpoint = {server.endpoint}\nallow_plain = yes\ncredential = key\n"
               f"credential_file = {folder}/nothing\n")
    with Hub(folder / "hub", accounts=account) as hub:
        with station(folder, server, hub, "east") as east, station(folder, server, hub, "west") as west:
            both = {"SEA1": east, "SEA2": west}
            for name, serials in ((JOB, drives.values()), (OTHER, [spare])):
                hub.local("POST", "/v1/jobs", {"name": name, "account": server.account, "journals": [
                    {"name": d.journal.name, "text": d.journal.read_text()} for d in serials]})
            for at in both.values():
                job = at.wait(lambda at=at: known(at, JOB), what="the job from the hub")
                assert job["origin"] == "upstream" and len(job["drives"]) == 2, job
                at.wait(lambda at=at: known(at, OTHER), what="the other job")
            hub.local("POST", f"/v1/jobs/{OTHER}/cancel", {})

            for serial, at in both.items():
                at.dock(drives[serial].image, "A1")
            east.wait(lambda: east.drive("SEA1").get("state") == "Transferring", what="a transfer")
            hub.crash()
            for serial, at in both.items():  # nobody waits for it
                at.wait_drive(serial, state="Completed", copy_status="Completed")
            assert east.get("/v1/station")["job_service"]["waiting"] > 0
            hub.start()
            for at in both.values():
                at.post("/v1/reload")  # or wait until the next try

            def same() -> bool:
                at_hub = drives_of(hub.local("GET", f"/v1/jobs/{JOB}"))
                return all(at_hub[serial] == drives_of(at.get(f"/v1/jobs/{JOB}"))[serial] for serial, at in both.items())

            east.wait(same, what="the hub's view")
            job = hub.local("GET", f"/v1/jobs/{JOB}")
            assert job["state"] == "Packaging", job
            for at in both.values():
                at.wait(lambda at=at: at.get("/v1/station")["job_service"]["waiting"] == 0, what="an empty outbox")
                view = at.get("/v1/station")["job_service"]
                assert view["parked"] == 0 and "heard_at" in view, view
                at.wait(lambda at=at: known(at, OTHER, cancel_requested=True) or not known(at, OTHER), what="the end of the other job")
            for serial, at in both.items():  # each sends its own drive back; the other one's is known to be done
                at.wait(lambda at=at: known(at, JOB, state="Packaging"), what="the end of both drives")
                assert drives_of(at.get(f"/v1/jobs/{JOB}")) == drives_of(hub.local("GET", f"/v1/jobs/{JOB}")), at.get(f"/v1/jobs/{JOB}")
                at.pull("A1")
                at.wait_drive(serial, docked=False)
                at.post(f"/v1/jobs/{JOB}/return", {"carrier": "Blue Post", "tracking": "1Z"})
            east.wait(lambda: hub.local("GET", f"/v1/jobs/{JOB}")["state"] == "Completed", what="the end of the job")
            heard = hub.ask("GET", "/v1/hub/stations", version=None).json["stations"]
            assert sorted(s["source"] for s in heard) == ["/stations/east", "/stations/west"], heard
            assert all(s["refused"] == 0 and not s["silent"] for s in heard), heard
            assert not hub.ask("GET", "/v1/hub/conflicts", version=None).json["conflicts"]
            for at in both.values():
                assert hub.tokens["station"] not in at.log(), at.log()
    print("a hub and two stations agree")


def main() -> int:
    try:
        with Azurite() as server, tempfile.TemporaryDirectory(prefix="berth-hub-") as folder:
            run(pathlib.Path(folder), server)
    except Missing as missing:
        print(f"SKIP: cannot run here: {missing}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
