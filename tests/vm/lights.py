#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lamps of a shelf: a guest with an enclosure that the kernel's own driver knows (shelf.c), a bay that is named by its
slot and by the path of its drive, and the daemon that may write what udev's rules let its group write.

Usage: lights.py      (skips with 77 where QEMU, the kernel's package or the emulator of blobs cannot be had)
"""
import pathlib
import random
import signal
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import guest  # noqa: E402
from azurite import Azurite, Missing  # noqa: E402
from guest_station import BAYS, BUILD, Drive, Station  # noqa: E402

SLOTS = 4
SHELF_ID = "0x500056b31234abcd"
TARGET = "/sys/kernel/config/target"
# The handler answers before the target is linked: the kernel asks at once, and waits for it.
BUILD_SHELF = (
    "for module in $(cat /modules/shelf); do insmod $module; done; mount -t configfs configfs /sys/kernel/config",
    f"mkdir -p {TARGET}/core/user_0/shelf",
    f"echo dev_config=shelf/1,dev_size=1048576 >{TARGET}/core/user_0/shelf/control",
    f"echo 1 >{TARGET}/core/user_0/shelf/enable",
    f"shelf /dev/uio0 {SLOTS} </dev/null >/run/shelf 2>&1 &",
    f"mkdir -p {TARGET}/loopback/naa.6001405000000001/tpgt_1",
    f"echo naa.6001405000000002 >{TARGET}/loopback/naa.6001405000000001/tpgt_1/nexus",
    f"mkdir {TARGET}/loopback/naa.6001405000000001/tpgt_1/lun/lun_0",
    f"ln -s {TARGET}/core/user_0/shelf {TARGET}/loopback/naa.6001405000000001/tpgt_1/lun/lun_0/shelf",
    "udevadm settle --timeout=30",
)


class Shelf:
    def __init__(self, station: Station):
        self.machine = station.machine
        for command in BUILD_SHELF:
            self.machine.run(command)
        self.machine.wait("the slots of the shelf", lambda: self.machine.run(
            "ls -d /sys/class/enclosure/*/Slot* | wc -l").strip() == str(SLOTS))

    def wait(self, slot: int, locate: int = 0, fault: int = 0, active: int = 0) -> None:
        """Until the last that the kernel told the shelf of this slot is this."""
        wanted = f"slot {slot}: locate {locate}, fault {fault}, active {active}"
        self.machine.wait(wanted, lambda: self.machine.run(f"grep '^slot {slot}:' /run/shelf | tail -n1").strip() == wanted)

    def lines(self) -> int:
        return int(self.machine.run("wc -l </run/shelf"))


def run(folder: pathlib.Path, server: Azurite) -> None:
    dice = random.Random(8)
    drive = Drive(folder, "LAMP-0001", {"a.bin": dice.randbytes(3 << 20)})
    bays = {**BAYS, "S1": BAYS["S1"] + f"\nenclosure = {SHELF_ID}/1", "S2": BAYS["S2"] + f"\nenclosure = {SHELF_ID}/2",
            "EMPTY": f"enclosure = {SHELF_ID}/4"}
    with Station(folder, server, bays=bays, programs={BUILD / "tests/vm/shelf": "/usr/bin/shelf"}) as station:
        shelf = Shelf(station)
        station.start()
        station.ctl("locate", "EMPTY")
        shelf.wait(4, locate=1)
        assert station.bay("EMPTY")["locate"] and station.bay("EMPTY")["lamps"]
        station.ctl("locate", "EMPTY", "--off")
        shelf.wait(4)
        print("locate: on and off", flush=True)

        station.job("lights", drive)
        station.dock(drive, "S1", bytes_per_second=1 << 20)
        shelf.wait(1, active=1)
        station.ctl("locate", "S1")
        shelf.wait(1, active=1, locate=1)
        station.ctl("locate", "S1", "--off")
        station.wait_drive(drive, copy_status="Completed")
        shelf.wait(1, locate=1)  # take this one
        print("a drive: active, then safe to remove", flush=True)
        station.pull("S1")
        station.wait_bay("S1", "empty")
        shelf.wait(1)

        bad = Drive(folder, "LAMP-0002", {"b.bin": b"b"})
        bad.journal = spoilt(bad.journal)
        station.job("spoilt", bad)
        station.dock(bad, "S2")
        station.wait_drive(bad, state="CompletedMoreInfo")
        shelf.wait(2, fault=1)
        print("a drive that failed: fault", flush=True)
        station.stop()


def spoilt(journal: pathlib.Path) -> pathlib.Path:
    """The same journal with another hash of the manifest."""
    text = journal.read_text()
    at = text.rindex("<ManifestHash>") + len("<ManifestHash>")
    journal.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1:])
    return journal


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
