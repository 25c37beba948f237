#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A busy station: ten drives of four jobs and two extra ones, docked in random order in six virtual bays. One has a wrong
key, one a changed manifest, one is pulled half-way and docked again in another bay. Every job and drive ends in the
state of the table, each drive's log has the right status, and the blobs are what the sources were.

Usage: station-drives.py        (skips with 77 where the emulator cannot be had)
"""
import hashlib
import os
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from berthd import Refused, Station  # noqa: E402
from prepared import Prepared  # noqa: E402

MIB = 1 << 20
JOBS = {"attic": 3, "cellar": 3, "garden": 2, "roof": 2}
WRONG_KEY, CHANGED, PULLED = "CELLAR2", "GARDEN1", "ATTIC1"
SLOW = 3 * MIB  # bytes a second for all, until the drive that is pulled was pulled
ENDS = {WRONG_KEY: ("CompletedMoreInfo", "BitLockerKeyInvalid"), CHANGED: ("CompletedMoreInfo", "ManifestCorrupted")}
READ = """
    const crypto = require('crypto'), found = {};
    for (const name of args)
        for await (const b of service.getContainerClient(name).listBlobsFlat())
            found[name + '/' + b.name] = crypto.createHash('md5').update(
                b.properties.contentLength ? await service.getContainerClient(name).getBlobClient(b.name).downloadToBuffer()
                                           : Buffer.alloc(0)).digest('hex');
    return found;"""
TEXT = "return (await service.getContainerClient(args[0]).getBlobClient(args[1]).downloadToBuffer()).toString();"


def make(folder: pathlib.Path, serial: str, container: str, dice: random.Random) -> Prepared:
    drive = Prepared(folder, serial)
    drive.credential = ""
    size = 14 * MIB if serial == PULLED else dice.randrange(MIB, 3 * MIB)
    for i in range(4):
        drive.add(f"{container}/{serial}/file {i}.bin", f"\\d{i}\\file {i}.bin", dice.randbytes(size if i == 0 else 3000 + i))
    drive.add(f"{container}/{serial}/empty", "\\empty", b"")
    drive.make(key="-".join(["111111"] * 8) if serial == WRONG_KEY else None,
               manifest_hash=hashlib.md5(b"another").hexdigest().upper() if serial == CHANGED else None)
    return drive


def make_all(folder: pathlib.Path, dice: random.Random) -> "dict[str, dict[str, Prepared]]":
    return {job: {f"{job.upper()}{i + 1}": make(folder, f"{job.upper()}{i + 1}", job, dice) for i in range(n)}
            for job, n in JOBS.items()}


def pull_half_way(station: Station, drive: Prepared, bay: str) -> None:
    station.wait(lambda: station.bay(bay).get("progress", {}).get("bytes_done", 0) > 0, what="a part of the drive")
    in_jobs = [drive for job in station.get("/v1/jobs")["jobs"] for drive in job["drives"]]
    for drives in (station.get("/v1/drives")["drives"], in_jobs):
        assert any(d["serial"] == PULLED and d["progress"]["bytes_done"] > 0 for d in drives if "progress" in d), drives
    station.pull(bay)
    view = station.wait_drive(PULLED, activity="dock-again")
    assert (view["state"], view["copy_status"], view["docked"]) == ("Transferring", "InProgress", False), view
    again = next(name for name in station.names if name != bay and name not in station.docked)
    station.dock(drive.image, again)
    station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 0})
    station.wait_drive(PULLED, state="Completed")
    assert station.bay(again)["activity"] == "safe-to-remove"
    station.post(f"/v1/bays/{again}/eject")
    station.pull(again)


def dock_all(station: Station, drives: "list[Prepared]", extra: set, ended: dict) -> None:
    """Like an operator: a drive into every free bay, out when it is done or set aside."""
    waiting, finished = list(drives), {PULLED}  # that one may still be seen where it was ejected

    def look() -> bool:
        while waiting and station.free_bay():
            station.dock(waiting[0].image, station.free_bay())
            waiting.pop(0)
        for view in station.get("/v1/bays")["bays"]:
            serial = view.get("drive", {}).get("serial")
            if view["bay"] not in station.docked or serial in finished:
                continue
            if serial in extra and view.get("match", {}).get("kind") == "none":
                assert (view["activity"], view["led"]) == ("unknown-drive", "locate"), view
            elif view.get("activity") not in ("safe-to-remove", "failed"):
                continue
            ended[serial] = view
            finished.add(serial)
            station.pull(view["bay"])
        return len(finished) == len(drives) + 1

    station.wait(look, what="the end of all drives")


def check_drive(station: Station, server: Azurite, serial: str) -> None:
    view = station.drive(serial)
    state, status = ENDS.get(serial, ("Completed", "Completed"))
    assert (view["state"], view["copy_status"]) == (state, status), view
    assert view["percent"] == 100, view
    if status == "Completed":
        assert view["bytes_done"] == view["bytes"] and view["blobs_done"] == view["blobs"], view
    container, name = view["error_log"].split("/", 1)
    log = server.client(TEXT, container, name)
    assert f"<Status>{status}</Status>" in log and serial in log, log


def check_blobs(server: Azurite, jobs: dict) -> None:
    found = server.client(READ, *JOBS)
    expected = {}
    for drives in jobs.values():
        for serial, drive in drives.items():
            if serial in ENDS:
                continue
            for path, data in drive.files.items():
                name = path.rsplit("\\", 1)[1]
                expected[f"{serial.rstrip('0123456789').lower()}/{serial}/{name}"] = hashlib.md5(data).hexdigest()
    assert found == expected, set(found.items()) ^ set(expected.items())


def check_return(station: Station) -> None:
    for job in JOBS:
        went_wrong = any(serial.startswith(job.upper()) for serial in ENDS)
        view = station.get(f"/v1/jobs/{job}")
        # A drive that failed as a whole may be corrected until its job is packed: an operator's return ends that.
        assert view["state"] in (("Transferring", "Packaging") if went_wrong else ("Packaging",)), view
        station.post(f"/v1/jobs/{job}/return", {"carrier": "Cycle Post", "tracking": "CP-1"})
        view = station.get(f"/v1/jobs/{job}")
        assert view["state"] == ("Closed" if went_wrong else "Completed"), view
        assert all(d["state"] == "ShippedBack" for d in view["drives"]), view
    try:
        station.post("/v1/jobs/attic/return", {"carrier": "Cycle Post", "tracking": "CP-1"})
        raise AssertionError("a job was sent back twice")
    except Refused as e:
        assert e.status == 409, e


def check_history(station: Station) -> None:
    events = station.get(f"/v1/events?drive={PULLED}&limit=1000")["events"]
    kinds = [e["kind"] for e in events]
    assert kinds.count("drive.docked") == 2 and kinds.count("drive.undocked") == 2, kinds
    sequences = [e["sequence"] for e in events]
    assert sequences == sorted(set(sequences)), sequences


def run(folder: pathlib.Path, server: Azurite) -> None:
    seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    jobs = make_all(folder, dice)
    extras = {serial: make(folder, serial, "attic", dice) for serial in ("EXTRA1", "EXTRA2")}
    first = jobs["attic"][PULLED]
    others = [d for drives in jobs.values() for d in drives.values() if d is not first] + list(extras.values())
    dice.shuffle(others)
    with Station(folder, server, bays=6, keys=f"bandwidth = {SLOW}\nworkers_at_once = 4\n") as station:
        for name, drives in jobs.items():
            station.job(name, *(d.journal for d in drives.values()))
        station.dock(first.image, "A1")
        pull_half_way(station, first, "A1")
        ended = {}
        dock_all(station, others, set(extras), ended)
        for drives in jobs.values():
            for serial in drives:
                check_drive(station, server, serial)
        check_blobs(server, jobs)
        station.wait(lambda: not any(d["docked"] for d in station.get("/v1/drives")["drives"]), what="all undocked")
        check_history(station)
        check_return(station)
        assert station.stop() == 0
        for secret in (server.key, first.key):
            assert secret not in station.log(), "a secret is in the log"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-station-") as name:
        try:
            with Azurite() as server:
                run(pathlib.Path(name), server)
        except Missing as e:
            print(f"SKIP: cannot run here: {e}")
            return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
