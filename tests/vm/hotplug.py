#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real drives, as far as a machine without hands can have them: a guest with the station's programs is given a SATA, a
SCSI, an NVMe and a USB drive while it runs. Each is known by its serial number and its bay by its path or its port, and
ends as the blobs that its sources were; one is pulled in the middle and docked again in another bay.

Usage: hotplug.py     (skips with 77 where QEMU, the kernel's package or the emulator of blobs cannot be had)
"""
import hashlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import guest  # noqa: E402
from azurite import Azurite, Missing  # noqa: E402
from guest_station import Drive, Station  # noqa: E402

MIB = 1 << 20
SLOW = 1 * MIB  # bytes a second
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def make(folder: pathlib.Path, serial: str, mib: int, dice: random.Random, **more) -> Drive:
    files = {"small.txt": f"This is {serial}.\n".encode(), "empty": b"", "deep/er/a b.bin": dice.randbytes(70_001)}
    for n in range(mib):
        files[f"film/{n}.mov"] = dice.randbytes(MIB + n)
    return Drive(folder, serial, files, **more)


def check_blobs(station: Station, drive: Drive) -> None:
    found = station.blobs(drive)
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in drive.blobs().items()}
    assert found == expected, f"{drive.serial}: {set(found.items()) ^ set(expected.items())}"
    say(f"{drive.serial}: {len(found)} blobs are what their sources are")


def identified(station: Station, drive: Drive, bay: str, bus: str, source: str) -> None:
    view = station.machine.wait(f"{drive.serial} in {bay}", lambda: (b := station.bay(bay))["state"] == "ready" and b)
    assert view["drive"]["serial"] == drive.serial, view
    assert (view["drive"]["bus"], view["drive"]["serial_source"]) == (bus, source), view
    say(f"{drive.serial}: docked in bay {bay}: {view['drive']}")


def run(folder: pathlib.Path, server: Azurite) -> None:
    dice = random.Random(7)
    scsi = make(folder, "SCSI-0001", 4, dice)
    say("the drives are made")
    with Station(folder, server) as station:
        say("the machine is up")
        station.start()
        station.job("hotplug", scsi)
        station.dock(scsi, "S1")
        identified(station, scsi, "S1", "scsi", "vpd-80")
        print(station.wait_drive(scsi, copy_status="Completed"))
        check_blobs(station, scsi)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    with tempfile.TemporaryDirectory(prefix="berth-vm-") as name:
        try:
            with Azurite() as server:
                run(pathlib.Path(name), server)
        except (Missing, guest.Missing) as e:
            print(f"SKIP: cannot run here: {e}")
            return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
