#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berthctl against the real daemon: an operator's day, every verb, with its exit code and what can be seen of it.

Usage: station-ctl.py        (skips with 77 where the emulator cannot be had)
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from berthd import Station  # noqa: E402
from prepared import Prepared  # noqa: E402

BERTHCTL = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berthctl")
MIB = 1 << 20
PARCEL = ("--carrier", "Blue Van", "--tracking", "1Z 999")
NOBODY = 65534


class Operator:
    def __init__(self, station: Station):
        self.station = station
        self.environment = os.environ | {"BERTH_SOCKET": str(station.socket)}

    def __call__(self, *words, code: int = 0, **more) -> str:
        """What the verb printed, on both streams."""
        done = subprocess.run([BERTHCTL, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, env=self.environment, timeout=120, **more)
        assert done.returncode == code, f"berthctl {words} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def json(self, *words) -> dict:
        return json.loads(self(*words, "--json"))

    def says(self, words: list, *wanted: str, code: int = 0) -> None:
        shown = self(*words, code=code)
        for text in wanted:
            assert text in shown, f"berthctl {words} does not say '{text}': {shown}"


def make(folder: pathlib.Path, serial: str, container: str, dice: random.Random) -> Prepared:
    drive = Prepared(folder, serial)
    drive.credential = ""
    for i in range(3):
        drive.add(f"{container}/{serial}/file {i}.bin", f"\\file {i}.bin", dice.randbytes(2 * MIB))
    drive.make()
    return drive


def look_around(ctl: Operator) -> None:
    station = ctl.station
    ctl.says(["list"], "A1", "A2", "empty")
    ctl.says([], "A1", "empty")
    ctl.says(["bays"], f"directory:{station.folder}/A1")
    ctl.says(["show", "A1"], "empty", "directory:")
    ctl.says(["jobs"], "There are no such jobs.")
    ctl.says(["history"], "Nothing happened.")
    ctl.says(["station"], "station", "Bays")
    ctl.says(["config"], "state_directory", station.server.account)
    ctl.says(["config", "--check", "--config", station.config])
    ctl.says(["config", "--check", "--config", "/nonexistent"], "/nonexistent", code=1)
    ctl.says(["reload"], "was read")
    ctl.says(["limit", "5MB"], "5.0 MB/s")
    assert "LIMITS_SET: all drives together send at most 5000000 bytes a second" in ctl.station.log(), "no log of the act"
    mistake_in_reload(ctl)
    assert ctl.json("limit") == station.get("/v1/limits")
    assert ctl.json("list") == station.get("/v1/bays")


def make_jobs(ctl: Operator, drives: "dict[str, Prepared]") -> None:
    account = ctl.station.server.account
    ctl.says(["job", "import", drives["ATTIC1"].journal, "--account", account, "--name", "attic"], "'attic' was made")
    ctl.says(["job", "import", drives["ATTIC1"].journal, "--account", account, "--name", "again"], "ATTIC1", code=1)
    ctl.says(["job", "import", drives["ATTIC1"].journal, "--account", "nobody", "--name", "x-1"], "nobody", code=1)
    ctl.says(["job", "import", ctl.station.config, "--account", account, "--name", "x-2"], "BeginUpdateRecord", code=2)
    ctl.says(["job", "import", drives["CELLAR1"].journal, drives["CELLAR2"].journal, "--account", account, "--name", "cellar",
              "--accept-unshipped", "no"], "'cellar' was made")
    ctl.says(["jobs"], "attic", "cellar", "Creating", account)
    ctl.says(["jobs", "--state", "Packaging"], "There are no such jobs.")
    ctl.says(["jobs", "--state", "Odd"], "Odd", code=2)
    ctl.says(["job", "show", "attic"], "ATTIC1", "Specified", "Creating")
    ctl.says(["job", "show", "roof"], "roof", code=1)
    ctl.says(["names", "bays", "drives", "jobs"], "A1", "CELLAR2", "attic")


def copy_a_drive(ctl: Operator, drive: Prepared) -> None:
    station = ctl.station
    station.dock(drive.image, "A1")
    station.wait(lambda: station.bay("A1").get("progress", {}).get("bytes_done", 0) > 0, what="a part of the drive")
    sandbox = station.bay("A1")["sandbox"]
    assert sandbox["system_calls"] and sandbox["no_dumps"] and sandbox["limits"], sandbox
    assert sandbox["connections"] == (sandbox["landlock"] >= 4), sandbox
    ctl.says(["show", "A1"], "ATTIC1", "transferring", "attic", "Rate", "Sandbox", sandbox["sentence"])
    ctl.says(["show", "attic1"], "Transferring", "InProgress")
    ctl.says(["pause", "ATTIC1"])
    station.wait_drive("ATTIC1", activity="paused")
    ctl.says(["pause", "ATTIC1"], "holds", code=1)
    ctl.says(["list"], "paused")
    ctl.says(["resume", "ATTIC1", "--job", "attic"])
    ctl.says(["limit", "none"], "none")
    seen = ctl("watch", "--until-done", "attic").splitlines()
    assert seen[-1] == "All drives of attic are copied." and "  A1  ATTIC1  attic  " in seen[0], seen
    ctl.says(["list"], "safe-to-remove", "100%")
    assert "sandbox" not in station.bay("A1"), "no worker runs any more"
    ctl.says(["retry", "ATTIC1"], code=1)
    logs = ctl.json("logs", "ATTIC1")
    ctl.says(["logs", "ATTIC1"], "Completed", logs["runs"][-1]["error_log"])


def send_it_back(ctl: Operator) -> None:
    station, receipt = ctl.station, ctl.station.folder / "receipt.txt"
    ctl.says(["job", "return", "attic", *PARCEL], code=1)  # it is in its bay still
    ctl.says(["eject", "ATTIC1"], "safe to remove")
    station.pull("A1")
    station.wait_bay("A1", state="empty")
    ctl.says(["eject", "A1"], "empty", code=1)
    ctl.says(["receipt", "ATTIC1", "--output", receipt], str(receipt))
    assert receipt.read_text() == ctl("receipt", "ATTIC1") or "ATTIC1" in receipt.read_text()
    ctl.says(["job", "return", "attic", *PARCEL], "were sent back")
    ctl.says(["job", "show", "attic"], "Completed", "ShippedBack")
    ctl.says(["history", "attic"], "the job was made", "A1", "ShippedBack", "root")
    ctl.says(["history", "ATTIC1", "--lines", "2"], "ShippedBack")
    ctl.says(["job", "delete", "attic"], "not confirmed", code=4)
    ctl.says(["job", "delete", "attic", "--yes"], "was taken away")
    ctl.says(["job", "show", "attic"], code=1)


def mistake_in_reload(ctl: Operator) -> None:
    """Said with file and line, to who asked and in the log; and nothing has changed."""
    config = ctl.station.config
    text = config.read_text()
    config.write_text(text + "colour = red\n")
    place = f"{config}:{text.count(chr(10)) + 1}: there is no key 'colour'"
    ctl.says(["reload"], place, code=2)
    assert f"RELOAD: {place}" in ctl.station.log(), ctl.station.log()[-400:]
    config.write_text(text)


def a_job_that_waits(ctl: Operator, drives: "dict[str, Prepared]") -> None:
    station = ctl.station
    station.dock(drives["CELLAR1"].image, "A2")
    station.wait_bay("A2", activity="waiting-for-job")
    ctl.says(["locate", "A2"], "no lamp")
    assert ctl.json("show", "A2")["locate"]
    ctl.says(["locate", "A2", "--off"])
    address = station.folder / "address.json"
    address.write_text('{"city": "Graz", "countryOrRegion": "Austria"}')
    ctl.says(["job", "ship", "cellar", *PARCEL, "--return-address", address], "on its way")
    ctl.says(["missing", "CELLAR2"], "did not come")
    ctl.says(["job", "receive", "cellar", "CELLAR2"], "booked in")
    ctl.says(["missing", "CELLAR2"], "give it up", code=1)
    station.wait_drive("CELLAR1", state="Completed")
    ctl.says(["give-up", "CELLAR2"], "not confirmed", code=4)
    ctl.says(["give-up", "CELLAR2", "--yes"])
    ctl.says(["watch", "--until-done", "cellar"], "not all are copied well", code=1)
    ctl.says(["job", "show", "cellar"], "DiskOperationFailed", "Packaging")
    ctl.says(["job", "cancel", "cellar", "--yes"], code=1)
    ctl.says(["eject", "A2"], "safe to remove")
    station.pull("A2")


def a_stray_drive(ctl: Operator, drive: Prepared) -> None:
    station = ctl.station
    station.dock(drive.image, "A1")
    station.wait_bay("A1", activity="unknown-drive")
    ctl.says(["show", "STRAY"], "A1", "set it aside")
    ctl.says(["show", "STRAYS"], "STRAYS", code=1)
    ctl.says(["match", "A1", "NONE"], "NONE", code=1)
    ctl.says(["history", "STRAY"], "a drive is in a bay")
    ctl.says(["job", "import", drive.journal, "--account", station.server.account, "--name", "late"], "was made")
    ctl.says(["watch", "--until-done", "late"], "are copied")
    ctl.says(["eject", "A1", "--no-wait"])


def rights(ctl: Operator) -> None:
    if os.geteuid() != 0:
        return
    for path in (ctl.station.folder.parent, ctl.station.folder, ctl.station.folder / "run"):
        path.chmod(0o755)
    ctl.says(["list"], "A1")
    assert "A1" in ctl("list", user=NOBODY, group=NOBODY, extra_groups=[])
    assert "right" in ctl("locate", "A1", code=4, user=NOBODY, group=NOBODY, extra_groups=[])
    assert "right" in ctl("reload", code=4, user=NOBODY, group=NOBODY, extra_groups=[])


def main() -> int:
    dice = random.Random(47)
    with Azurite() as server, tempfile.TemporaryDirectory(prefix="berth-ctl-") as name:
        folder = pathlib.Path(name)
        drives = {serial: make(folder, serial, "day", dice) for serial in ("ATTIC1", "CELLAR1", "CELLAR2", "STRAY")}
        with Station(folder, server, bays=2) as station:
            ctl = Operator(station)
            look_around(ctl)
            make_jobs(ctl, drives)
            copy_a_drive(ctl, drives["ATTIC1"])
            send_it_back(ctl)
            a_job_that_waits(ctl, drives)
            a_stray_drive(ctl, drives["STRAY"])
            rights(ctl)
            assert station.stop() == 0
            ctl.says(["list"], "daemon does not run", code=3)
    print("an operator's day is over")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as reason:
        print(f"SKIP: cannot run here: {reason}")
        sys.exit(77)
