#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real drives, as far as a machine without hands can have them: a guest with the station's programs is given a SATA, a
SCSI, an NVMe and a USB drive while it runs. Each is known by its serial number and its bay by its path or its port, and
ends as the blobs that its sources were; one is pulled in the middle and docked again in another bay.

Usage: hotplug.py     (skips with 77 where QEMU, the kernel's package or the emulator of blobs cannot be had)
With BERTH_VM_ALL=1 also: each kind of drive pulled in the middle and docked in the same bay or another, a bad sector, a
drive that comes and goes, and a daemon that is stopped and killed while drives are docked.
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
    view = station.wait_bay(bay, "ready")["drive"]
    assert (view["serial"], view["bus"], view["serial_source"]) == (drive.serial, bus, source), view
    assert view["size"] == drive.image.stat().st_size, view
    told = station.machine.run(f"udevadm info --query=property {view['node']}")
    assert f"BERTH_BAY={bay}\n" in told and "ID_FS_TYPE" not in told, told  # udev keeps its hands off
    say(f"{drive.serial}: known in bay {bay}, docking {view['sequence']}")


def completed(station: Station, drive: Drive, bay: str) -> None:
    view = station.wait_drive(drive, state="Completed")
    assert view["copy_status"] == "Completed" and view["bay"] == bay, view
    assert (view["blobs_done"], view["bytes_done"]) == (view["blobs"], view["bytes"]), view
    assert view["blobs"] == len(drive.files), view
    check_blobs(station, drive)


def begun(station: Station, drive: Drive) -> None:
    """Until some of its blobs are there, and not all of them."""
    found = station.machine.wait(f"blobs of {drive.serial}", lambda: station.blobs(drive))
    assert len(found) < len(drive.files), "the drive was too fast to be pulled in the middle"
    say(f"{drive.serial}: {len(found)} of {len(drive.files)} blobs are there")


def wait_again(station: Station, drive: Drive, bay: str) -> None:
    """Pulled in the middle: the drive is waited for, and nothing is left in the bay."""
    view = station.wait_drive(drive, activity="dock-again")
    assert view["state"] == "Transferring" and not view["docked"], view
    station.wait_bay(bay, "empty")
    say(f"{drive.serial}: Transferring, {view['sentence']}")


def eject(station: Station, bay: str) -> None:
    """The kernel lets go of the drive, which still is in its plug."""
    node = station.bay(bay)["drive"]["node"]
    station.ctl("eject", bay)
    view = station.bay(bay)
    assert (view["state"], view["activity"], view["led"]) == ("ejected", "safe-to-remove", "safe"), view
    gone = station.machine.run(f"ls /sys/class/block/{node.removeprefix('/dev/')} 2>/dev/null || echo gone")
    assert gone == "gone", gone
    say(f"bay {bay}: ejected")


def run(folder: pathlib.Path, server: Azurite) -> None:
    dice = random.Random(7)
    sata, scsi = make(folder, "SATA-0001", 4, dice), make(folder, "SCSI-0001", 8, dice)
    nvme, usb = make(folder, "NVME-0001", 4, dice, partitioned=False), make(folder, "USB-0001", 3, dice)
    say("the drives are made")
    with Station(folder, server, sata=sata) as station:
        say("the machine is up")
        host = station.take_sata()
        station.start()
        station.job("hotplug", sata, scsi, nvme, usb)
        station.dock(scsi, "S1", bytes_per_second=SLOW)
        identified(station, scsi, "S1", "scsi", "vpd-80")
        begun(station, scsi)
        station.pull("S1")
        wait_again(station, scsi, "S1")

        station.dock(nvme, "N1")
        station.dock(usb, "U1")
        station.give_sata(host)
        identified(station, nvme, "N1", "nvme", "nvme")
        identified(station, usb, "U1", "usb", "inquiry-80")
        identified(station, sata, "SATA", "ata", "vpd-80")
        station.dock(scsi, "S2")
        identified(station, scsi, "S2", "scsi", "vpd-80")
        for drive, bay in (nvme, "N1"), (usb, "U1"), (sata, "SATA"), (scsi, "S2"):
            completed(station, drive, bay)
        job = station.ctl("job", "show", "hotplug")
        assert job["state"] == "Packaging" and job["percent"] == 100, job
        for bay in "S2", "N1", "U1":
            eject(station, bay)
        for bay in "S2", "N1", "U1":
            station.pull(bay)
        station.stop()
        say("everything is out, and the station has stopped")


def pulled_everywhere(folder: pathlib.Path, server: Azurite, dice: random.Random) -> None:
    """Each kind of drive is pulled in the middle: the kernel tells each reader something else."""
    nvme, usb, sata = (make(folder, serial, 8, dice) for serial in ("NVME-0002", "USB-0002", "SATA-0002"))
    with Station(folder, server, sata=sata, sata_pace=SLOW) as station:
        host = station.take_sata()
        station.start()
        station.job("pulled", nvme, usb, sata)
        station.dock(nvme, "N1", bytes_per_second=SLOW)
        begun(station, nvme)
        first = station.bay("N1")["drive"]["sequence"]
        station.pull("N1")
        wait_again(station, nvme, "N1")
        station.dock(usb, "U1", bytes_per_second=SLOW)
        begun(station, usb)
        station.pull("U1")
        wait_again(station, usb, "U1")
        station.give_sata(host)
        begun(station, sata)
        station.take_sata()
        wait_again(station, sata, "SATA")

        station.dock(nvme, "N1")
        identified(station, nvme, "N1", "nvme", "nvme")
        assert station.bay("N1")["drive"]["sequence"] > first
        station.dock(usb, "S1")  # out of its case, behind an adapter: the same serial number
        station.give_sata(host)
        for drive, bay in (nvme, "N1"), (usb, "S1"), (sata, "SATA"):
            completed(station, drive, bay)


def trouble(folder: pathlib.Path, server: Azurite, dice: random.Random) -> None:
    aged, restless, patient = (make(folder, serial, 6, dice) for serial in ("AGED-0001", "FLAP-0001", "WAIT-0001"))
    with Station(folder, server) as station:
        station.start()
        station.job("trouble", aged, restless, patient)
        station.dock(aged, "S1", bad_sector=aged.content_sector)
        view = station.wait_drive(aged, state="CompletedMoreInfo")
        found = station.blobs(aged)
        expected = {name: hashlib.sha256(data).hexdigest() for name, data in aged.blobs().items()}
        missing = set(expected) - set(found)
        assert len(missing) == 1 and found.items() <= expected.items(), (view, missing)
        say(f"{aged.serial}: {view['copy_status']}, without {missing}")

        for _ in range(3):
            station.dock(restless, "S2", bytes_per_second=SLOW)
            station.machine.wait("the drive", lambda: station.bay("S2")["state"] != "empty")
            station.pull("S2")
            station.wait_bay("S2", "empty")
        station.dock(restless, "S2")
        station.wait_bay("S2", "flapping")
        completed(station, restless, "S2")

        station.dock(patient, "N1", bytes_per_second=SLOW)
        begun(station, patient)
        station.stop("KILL")
        station.start()
        identified(station, patient, "N1", "nvme", "nvme")
        station.stop()
        station.start()
        completed(station, patient, "N1")
        assert station.bay("S2")["drive"]["serial"] == restless.serial  # there at the start
        say("the daemon was killed and stopped, and nothing was lost")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    with tempfile.TemporaryDirectory(prefix="berth-vm-") as name:
        try:
            with Azurite() as server:
                run(pathlib.Path(name), server)
                if os.environ.get("BERTH_VM_ALL"):
                    dice = random.Random(9)
                    for more in pulled_everywhere, trouble:
                        folder = pathlib.Path(name) / more.__name__
                        folder.mkdir()
                        more(folder, server, dice)
        except (Missing, guest.Missing) as e:
            print(f"SKIP: cannot run here: {e}")
            return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
