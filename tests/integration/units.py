#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units in a container of their own: what meson installed, booted under systemd.

The daemon starts, tells so, keeps its watchdog quiet, gives up what it does not need, comes back after a crash and
ends cleanly. A worker that systemd starts copies an encrypted drive to the emulator of the blob service: as a user
that exists only for it, into a folder that is the daemon's; a second one, another user, goes on where it was.
"""
import os
import pathlib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tree  # noqa: E402
from azurite import Azurite, Missing as NoEmulator  # noqa: E402
from container import ContainedStation, Container, Missing  # noqa: E402
from prepared import Prepared  # noqa: E402
from worker import ACTIVITY, RemoteWorker, SANDBOX  # noqa: E402

SERIAL = "UNITS0001"
DROP_IN = "[Service]\nWatchdogSec=1s\nRestartSec=100ms\nLoadCredential=account.key:/etc/credstore/account.key\n"
FOLDERS = "/var/lib/berth"  # not where the daemon makes its own


def units_of(prefix: str, root: pathlib.Path) -> None:
    """systemd looks in few places: a tree below another prefix than /usr is linked there."""
    if prefix == "/usr":
        return
    for folder in ("systemd/system", "sysusers.d", "tmpfiles.d", "udev/rules.d"):
        for file in (root / prefix.lstrip("/") / "lib" / folder).iterdir():
            (root / "usr/lib" / folder / file.name).symlink_to(f"{prefix}/lib/{folder}/{file.name}")


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="berth-units-")))
        try:
            cls.server = cls.enterClassContext(Azurite())
            cls.container = cls.enterClassContext(Container(cls.folder))
        except (Missing, NoEmulator) as why:
            cls.doClassCleanups()
            tree.skip(str(why))
        root = cls.container.root
        tree.install(root)
        units_of(tree.prefix(), root)
        for program in ("berthd", "berth-worker"):
            place = root / "usr/libexec/berth" / program
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(f"{tree.option('libexecdir')}/berth/{program}")
        drop_in = root / "etc/systemd/system/berthd.service.d/test.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(DROP_IN, encoding="ascii")
        (root / "srv/bays/1").mkdir(parents=True)
        station = root / "etc/berth/berthd.conf"
        station.parent.mkdir(exist_ok=True)
        station.write_text(
            "[station]\noperators = berth-operators\n[bay 1]\ndirectory = /srv/bays/1\n"
            f"[account {cls.server.account}]\nendpoint = {cls.server.endpoint}\nallow_plain = yes\n"
            "credential = key\ncredential_file = account.key\n", encoding="ascii")
        (root / "etc/credstore").mkdir(exist_ok=True)
        credential = root / "etc/credstore/account.key"
        credential.write_text(cls.server.key + "\n", encoding="ascii")
        credential.chmod(0o600)
        cls.container.prepare("systemd-sysusers", f"--root={root}")
        cls.container.prepare("systemctl", f"--root={root}", "enable", "berthd.service")
        try:
            cls.container.boot()
        except Missing as why:
            cls.doClassCleanups()
            tree.skip(str(why))

    def setUp(self) -> None:
        self.container.until(lambda: self.daemon()["ActiveState"] == "active", "the daemon")

    def daemon(self) -> "dict[str, str]":
        return self.container.show("berthd", "ActiveState", "SubState", "MainPID", "Result", "NRestarts",
                                   "WatchdogTimestampMonotonic", "StatusText", "ExecMainStatus")

    def uid(self, name: str) -> int:
        return int(self.container.run("id", "-u", name))

    def gid(self, name: str) -> int:
        return int(self.container.run("getent", "group", name).split(":")[2])

    def kill(self, signal: str, pid: str) -> None:
        self.container.run("sh", "-c", f"kill -{signal} {pid}")

    def test_daemon_tells_and_is_watched(self) -> None:
        first = self.daemon()
        self.assertNotEqual(first["StatusText"], "")
        self.container.until(lambda: int(self.daemon()["WatchdogTimestampMonotonic"])
                             > int(first["WatchdogTimestampMonotonic"]) + 1_500_000, "a sign of life")
        self.assertEqual(self.daemon()["NRestarts"], first["NRestarts"])
        self.assertEqual(self.container.run("systemctl", "is-active", "berth-worker.socket").strip(), "active")

    def test_daemon_gave_up_what_it_does_not_need(self) -> None:
        pid = int(self.daemon()["MainPID"])
        status = self.container.status(pid)
        self.assertEqual(set(status["Uid"].split()), {str(self.uid("berth"))})
        self.assertEqual({int(g) for g in status["Groups"].split()}, {self.gid("berth"), self.gid("berth-worker")})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        raw_io = 1 << 17
        for kind in ("CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[kind], 16) & ~raw_io, 0, kind)
        mounts = self.container.run("cat", f"/proc/{pid}/mounts")
        self.assertRegex(mounts, r"(?m)^\S+ / \S+ ro,")
        self.assertRegex(mounts, r"(?m)^\S+ /var/lib/berth \S+ rw,")

    def test_daemon_comes_back(self) -> None:
        before = self.daemon()
        self.kill("KILL", before["MainPID"])
        self.container.until(lambda: (d := self.daemon())["ActiveState"] == "active"
                             and d["MainPID"] not in ("0", before["MainPID"]), "the daemon again")
        self.assertTrue(self.container.path("/run/berth/worker.sock").is_socket())

    def test_daemon_ends_cleanly(self) -> None:
        started = time.monotonic()
        self.container.run("systemctl", "stop", "berthd")
        daemon = self.daemon()
        self.assertEqual((daemon["ActiveState"], daemon["Result"], daemon["ExecMainStatus"]),
                         ("inactive", "success", "0"))
        print(f"stopped in {time.monotonic() - started:.1f} s")
        self.container.run("systemctl", "start", "berthd")

    def test_reload(self) -> None:
        self.container.run("systemctl", "reload", "berthd")
        self.assertEqual(self.daemon()["ActiveState"], "active")

    # --- a drive ---

    def accepted(self) -> int:
        return int(self.container.show("berth-worker.socket", "NAccepted")["NAccepted"])

    def test_transfer(self) -> None:
        """By the daemon: with a credential of systemd's, and a worker behind the socket."""
        station = ContainedStation(self.container, self.server)
        drive = Prepared(self.folder, "UNITS0004")
        data = os.urandom(8 << 20)
        drive.add("transfer/x.bin", "\\x.bin", data)
        drive.credential = ""
        drive.make()
        station.wait(station.answers, what="an answer from the daemon")
        accepted = self.accepted()
        station.job("units", drive.journal)
        station.dock(drive.image, "1")
        view = station.wait_drive("UNITS0004", state="Completed")
        self.assertEqual(view["copy_status"], "Completed")
        self.assertGreaterEqual(self.accepted(), accepted + 2, "a worker for the journal and one for the drive")
        self.assertEqual(self.server.client("""return (await service.getContainerClient('transfer')
            .getBlobClient('x.bin').getProperties()).contentLength;"""), len(data))
        station.post("/v1/bays/1/eject")
        station.pull("1")

    # --- workers ---

    def make_folder(self, drive: Prepared) -> pathlib.Path:
        """As the daemon makes it and gives it to the workers' group."""
        folder = self.container.path(f"{FOLDERS}/test-{drive.serial}")
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, self.uid("berth"), self.gid("berth-worker"))
            folder.chmod(0o770)
        return folder

    def worker(self, drive: Prepared) -> RemoteWorker:
        return RemoteWorker(self.container.path("/run/berth/worker.sock"), drive.image,
                            self.make_folder(drive), job="units", drive_id=drive.serial,
                            manifest_path=drive.manifest_path, manifest_hash=drive.manifest_hash,
                            bitlocker_key=drive.key.encode(), account=self.server.account,
                            endpoint=self.server.endpoint, allow_plain=True, credential_kind="key",
                            credential=self.server.key.encode())

    def look_at(self, worker: RemoteWorker) -> int:
        """A worker as it works: its user, and what it may not do. Its uid comes back."""
        pids = self.container.run("pidof", "berth-worker", fine=None).split()
        self.assertEqual(len(pids), 1, "one worker")
        status = self.container.status(int(pids[0]))
        uid = int(status["Uid"].split()[0])
        self.assertTrue(61184 <= uid <= 65519, f"{uid} is a dynamic user")
        self.assertEqual({int(g) for g in status["Gid"].split()}, {self.gid("berth-worker")})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertEqual({int(status[kind], 16) for kind in ("CapEff", "CapBnd", "CapPrm")}, {0})
        mounts = self.container.run("cat", f"/proc/{pids[0]}/mounts")
        self.assertRegex(mounts, r"(?m)^\S+ / \S+ ro,")
        self.assertRegex(mounts, r"(?m)^\S+ /var/lib/berth tmpfs ro,", "the station's own things are hidden")
        return uid

    def test_worker(self) -> None:
        drive = Prepared(self.folder, SERIAL)
        data = os.urandom(24 << 20)
        drive.add("attic/big.bin", "\\big.bin", data)
        for n in range(40):
            drive.add(f"attic/{n}.txt", f"\\s\\{n}.txt", f"file {n}".encode())
        drive.credential = ""
        drive.make()
        with self.worker(drive) as worker:
            worker.until(lambda w: "transferring" in w.activities)
            first = self.look_at(worker)
            level = worker.of(SANDBOX)[0]
            self.assertTrue(level["system_calls"] and level["limits"] and level["no_dumps"], level)
            print(level["sentence"])
            self.assertEqual(worker.wait(), 0)
        self.assertEqual((worker.result["end"], worker.result["copy_status"]), ("finished", "Completed"), worker.result)
        blobs = self.server.client("""const found = {}; for await (const b of
            service.getContainerClient('attic').listBlobsFlat()) found[b.name] = b.properties.contentLength;
            return found;""")
        self.assertEqual(len(blobs), 41)
        self.assertEqual(blobs["big.bin"], len(data))
        kept = list(self.make_folder(drive).glob("transfer-*"))
        self.assertEqual([(f.stat().st_uid, f.stat().st_gid, f.stat().st_mode & 0o7777) for f in kept],
                         [(first, self.gid("berth-worker"), 0o660)])
        with self.worker(drive) as worker:
            self.assertEqual(worker.wait(), 0)
        self.assertEqual((worker.result["copy_status"], worker.result["sent_bytes"]), ("Completed", 0), worker.result)
        self.assertEqual(self.container.run("systemctl", "list-units", "--all", "--plain", "--no-legend",
                                            "berth-worker@*").strip(), "", "nothing is left of them")

    def test_worker_that_crashes_is_explained(self) -> None:
        drive = Prepared(self.folder, "UNITS0002")
        drive.add("attic/x.bin", "\\x.bin", os.urandom(48 << 20))
        drive.make()
        with self.worker(drive) as worker:
            worker.until(lambda w: w.of(ACTIVITY))
            self.kill("SEGV", self.container.run("pidof", "berth-worker").strip())
            self.assertEqual(worker.wait() & 0x7f, 11)
        self.assertIsNone(worker.result)

    def test_station_that_goes_ends_its_workers(self) -> None:
        drive = Prepared(self.folder, "UNITS0003")
        drive.add("attic/x.bin", "\\x.bin", os.urandom(48 << 20))
        drive.make()
        with self.worker(drive) as worker:
            worker.until(lambda w: w.of(ACTIVITY))
            self.container.run("systemctl", "stop", "berthd")
            worker.wait()
        self.container.until(lambda: not self.container.run("pidof", "berth-worker", fine=None).strip(), "their end")
        self.container.run("systemctl", "start", "berthd")


if __name__ == "__main__":
    unittest.main(verbosity=2)
