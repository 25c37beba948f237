#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A station in trouble: the disk of its records is full, its credential is wrong and then renewed, a daemon that is stopped
and started again, a second daemon on the same records, a configuration with a mistake. And one that is idle: it sleeps.

Usage: station-trouble.py PRELOAD_FULL        (skips with 77 where the emulator cannot be had)
"""
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from berthd import BUILD, Station  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402
from prepared import Prepared  # noqa: E402

MIB = 1 << 20
IDLE_SEC = 10
IDLE_BYTES = 20 * MIB
PRELOAD = sys.argv[1]
OTHER_KEY = "QUFB" * 21 + "QUE="  # well formed, and nobody's


def make(folder: pathlib.Path, serial: str, mib: int) -> Prepared:
    drive = Prepared(folder, serial)
    drive.credential = ""
    for i in range(mib):
        drive.add(f"trouble/{serial}/{i}", f"\\{i}", random.Random(i).randbytes(MIB))
    drive.make()
    return drive


def disk_full(folder: pathlib.Path, server: Azurite) -> None:
    drive = make(folder, "FULL1", 12)
    flag = folder / "full"
    name = "full-station"
    command = ("env", f"LD_PRELOAD={PRELOAD}", f"BERTH_FULL_FLAG={flag}", f"BERTH_FULL_FOLDER={folder / name}/state/store")
    with Station(folder, server, keys=f"bandwidth = {2 * MIB}\n", command=command, name=name) as station:
        station.job("full", drive.journal)
        station.dock(drive.image, "A1")
        station.wait(lambda: station.bay("A1").get("progress", {}).get("bytes_done", 0) > 0, what="the first bytes")
        flag.touch()
        station.wait_bay("A1", activity="paused-store")
        assert "full" in station.bay("A1")["sentence"] or "space" in station.bay("A1")["sentence"], station.bay("A1")
        view = station.get("/v1/station")
        assert view["healthy"] is False and view["workers"] == 0, view
        time.sleep(6)  # it tries again meanwhile, and stays as it is
        assert station.bay("A1")["activity"] == "paused-store"
        flag.unlink()
        station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 0})
        station.wait_drive("FULL1", state="Completed", copy_status="Completed")
        assert station.get("/v1/station")["healthy"] is True


def credentials(folder: pathlib.Path, server: Azurite) -> None:
    drive = make(folder, "CRED1", 2)
    with FaultProxy(server.port) as proxy, Station(
            folder, server, name="cred-station", port=proxy.port, more="containers = spare trouble\n") as station:
        # The service's answer to an expired key; the emulator has another one.
        proxy.add("status", times=1 << 20, status=403, code="AuthenticationFailed")
        station.renew(OTHER_KEY)
        station.job("cred", drive.journal)
        station.dock(drive.image, "A1")
        station.wait_bay("A1", activity="paused-credentials")
        station.wait_drive("CRED1", state="Transferring", activity="paused-credentials", copy_status="InProgress")
        proxy.rules.clear()
        station.renew(server.key)  # nothing else is said to the daemon
        station.wait_drive("CRED1", state="Completed", copy_status="Completed")
        for secret in (OTHER_KEY, server.key, drive.key):
            assert secret not in station.log()


def other_containers(folder: pathlib.Path, server: Azurite) -> None:
    """The account may be written to, but not all of it."""
    drive = make(folder, "OTHER1", 1)
    drive.add("troubles/near", "\\near", b"a name that begins alike")
    drive.add("spare/there", "\\there", b"allowed")
    drive.make()
    with Station(folder, server, name="other-station", more="containers = spare troubl trouble2\n") as station:
        station.job("other", drive.journal)
        station.dock(drive.image, "A1")
        view = station.wait_drive("OTHER1", state="CompletedMoreInfo", copy_status="CompletedWithErrors")
        assert "may not write to the container 'trouble'" in station.log(), station.log()
        container, name = view["error_log"].split("/", 1)
        log = server.client("return (await service.getContainerClient(args[0]).getBlobClient(args[1]).downloadToBuffer()).toString();",
                            container, name)
        assert log.count('<Blob Status="BlobRequestForbidden">') == 2, log
        names = server.client("const found = []; for await (const c of service.listContainers()) found.push(c.name); return found;")
        assert "spare" in names and "troubles" not in names, names


def restarts(folder: pathlib.Path, server: Azurite) -> None:
    drive = make(folder, "STOP1", 12)
    with Station(folder, server, keys=f"bandwidth = {2 * MIB}\n", name="stop-station") as station:
        station.job("stop", drive.journal)
        station.dock(drive.image, "A1")
        station.wait(lambda: station.bay("A1").get("progress", {}).get("bytes_done", 0) > 0, what="the first bytes")
        second = subprocess.run([BUILD / "daemon/berthd", "--config", station.config, "--no-udev"], capture_output=True,
                                text=True, timeout=30)
        assert second.returncode == 1 and "another process" in second.stderr, second
        assert station.stop() == 0
        station.start()
        station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 0})
        station.wait_drive("STOP1", state="Completed", copy_status="Completed")
        good = station.config.read_text()
        station.configure(good + "[station]\nnonsense = 1\n")
        station.process.send_signal(signal.SIGHUP)
        station.wait(lambda: "nonsense" in station.log(), what="a word about the mistake")
        assert station.bay("A1")["state"] == "ready"
        station.configure(good)
        station.process.send_signal(signal.SIGHUP)
        station.wait(lambda: "was read again" in station.log(), what="a word about the configuration")


def switches(pid: int) -> int:
    total = 0
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        total += sum(int(line.split()[1]) for line in status.read_text().splitlines() if "ctxt_switches" in line)
    return total


def idle(folder: pathlib.Path, server: Azurite) -> None:
    with Station(folder, server, name="idle-station", bays=24) as station:
        time.sleep(2)
        before = switches(station.process.pid)
        time.sleep(IDLE_SEC)
        woke = switches(station.process.pid) - before
        status = pathlib.Path(f"/proc/{station.process.pid}/status").read_text()
        resident = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"idle: {woke} wake-ups in {IDLE_SEC} s, {resident / MIB:.1f} MiB", flush=True)
        if "address" not in os.environ.get("BERTH_SANITIZE", "none"):
            assert woke < IDLE_SEC / 5, f"{woke} wake-ups in {IDLE_SEC} seconds"
            assert resident < IDLE_BYTES, resident


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-trouble-") as name:
        folder = pathlib.Path(name)
        try:
            with Azurite() as server:
                idle(folder, server)
                credentials(folder, server)
                other_containers(folder, server)
                disk_full(folder, server)
                restarts(folder, server)
        except Missing as e:
            print(f"SKIP: cannot run here: {e}")
            return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
