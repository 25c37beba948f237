#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running station lets go of: `job forget` and `job delete` reach the spool, and the history is shortened to
`keep_history`, at the start and after a reload, but for what goes on and what the job service has not got.

Usage: station-history.py
"""
import base64
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from berthd import Station  # noqa: E402

BERTHCTL = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berthctl")
NOWHERE = types.SimpleNamespace(key=base64.b64encode(b"key" * 8).decode(), account="photos", port=1, ca_file=None,
                                endpoint="http://127.0.0.1:1/photos")
UNHEARD = "job_service = http://127.0.0.1:1/\njob_service_plain = yes\njob_service_token = {}\n"  # nobody answers there
DAY_USEC = 86400 * 1000000
TRACKING = "1Z999AA10123456784"
JOURNAL = ("<Drive><DriveId>{}</DriveId><BitLockerKey>447062-369370-282953-484484-205029-308352-340461-184679"
           "</BitLockerKey><ManifestFile>\\DriveManifest.xml</ManifestFile>"
           "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>")


def ctl(station: Station, *words, code: int = 0) -> str:
    done = subprocess.run([BERTHCTL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=os.environ | {"BERTH_SOCKET": str(station.socket)}, timeout=60)
    assert done.returncode == code, f"berthctl {words} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def drop(station: Station, spool: pathlib.Path, name: str, tracking: str = "") -> pathlib.Path:
    """A job from the spool; where its files are then."""
    made = station.folder / name
    made.mkdir()
    (made / "one.jrn").write_text(JOURNAL.format(name.upper()))
    if tracking:
        (made / "job.conf").write_text(f"[job]\ncarrier = Blue Van\ntracking = {tracking}\n")
    made.rename(spool / name)
    done = spool / "done" / name
    station.wait((done / "result.txt").exists, what=f"the job of {done}")
    return done


def files_with(folder: pathlib.Path, text: str) -> list:
    return [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def forget_and_delete(station: Station, spool: pathlib.Path) -> None:
    told, other = drop(station, spool, "told", TRACKING), drop(station, spool, "other")
    assert files_with(station.folder, TRACKING)
    ctl(station, "job", "forget", "told", "--yes", code=1)  # it goes on
    assert (told / "job.conf").exists()
    ctl(station, "job", "cancel", "told", "--yes")
    ctl(station, "job", "receive", "told")
    ctl(station, "job", "return", "told", "--carrier", "Blue Van", "--tracking", "1Z888")
    said = ctl(station, "job", "forget", "told", "--yes")
    assert "its files in the spool" in said, said
    assert not told.exists() and not files_with(station.folder, TRACKING)
    assert (other / "one.jrn").exists()
    ctl(station, "job", "delete", "other", "--yes")
    assert not other.exists() and not list((spool / "done").iterdir())


# --- the history ---

def age(station: Station, days: int) -> None:
    """As if all that was so many days ago. What is to happen by the clock keeps its time."""
    database = sqlite3.connect(station.folder / "state" / "store.sqlite")
    with database:
        for table, columns in {"events": ["time_usec"], "jobs": ["created_usec", "ended_usec", "shipped_usec"]}.items():
            for column in columns:
                database.execute(f"UPDATE {table} SET {column} = {column} - ? WHERE {column} > 0", (days * DAY_USEC,))
    database.close()


def number_of(station: Station, job: str) -> int:
    return station.get(f"/v1/jobs/{job}")["id"]


def kinds(station: Station, job: int) -> list:
    """Of the events of a job, also of one that was deleted."""
    return [e["kind"] for e in station.get(f"/v1/events?job_id={job}&limit=1000")["events"]]


def restart(station: Station, days: int, keys: str) -> None:
    assert station.stop() == 0
    age(station, days)
    set_keys(station, keys)
    station.start()


def set_keys(station: Station, keys: str) -> None:
    """Instead of those that were set here before."""
    text = station.config.read_text()
    head, _, tail = text.partition("# more\n")
    station.configure(head + "# more\n" + keys.format(station.credential) + "# bays\n" + tail.partition("# bays\n")[2])


def wait_for_log(station: Station, text: str) -> None:
    station.wait(lambda: text in station.log(), 20, f"'{text}' in the log")


def shorten(station: Station, spool: pathlib.Path) -> None:
    job = {}
    for name in ("gone", "stays"):
        drop(station, spool, name)
        job[name] = number_of(station, name)
    job["told"] = number_of(station, "told")
    for name in ("gone", "told"):
        ctl(station, "job", "delete", name, "--yes")

    restart(station, 60, UNHEARD)  # it is younger than 90 days; from now on events wait for the job service
    drop(station, spool, "unsent")
    job["unsent"] = number_of(station, "unsent")
    ctl(station, "job", "delete", "unsent", "--yes")
    drop(station, spool, "newest")  # whose last event stays in any case
    before = {name: kinds(station, number) for name, number in job.items()}
    assert all(before[name][-1] == "job.deleted" for name in ("gone", "told", "unsent")), before
    assert "shortened" not in station.log()

    restart(station, 95, UNHEARD)
    wait_for_log(station, "the history was shortened to 90 days: 3 jobs that ended and")  # `other` with them
    after = {name: kinds(station, number) for name, number in job.items()}
    assert after == {"gone": [], "told": [], "stays": before["stays"], "unsent": before["unsent"]}, (before, after)
    assert ctl(station, "job", "show", "stays")

    set_keys(station, "keep_history = 31d\n")  # nobody waits for the events any more
    ctl(station, "reload")
    wait_for_log(station, "the history was shortened to 31 days: 1 jobs that ended and")
    assert kinds(station, job["unsent"]) == [] and kinds(station, job["stays"]) == before["stays"]
    set_keys(station, "keep_history = 1h\n")
    assert "keep_history" in ctl(station, "reload", code=2)
    assert number_of(station, "stays") == job["stays"]
    ctl(station, "config", "--check", "--config", str(station.config), code=1)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-history-") as name:
        spool = pathlib.Path(name) / "spool"
        spool.mkdir()
        keys = f"spool_directory = {spool}\nspool_account = photos\n# more\n# bays\n"
        with Station(pathlib.Path(name), NOWHERE, bays=1, keys=keys) as station:
            forget_and_delete(station, spool)
            shorten(station, spool)
            assert station.stop() == 0
    print("what is old is gone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
