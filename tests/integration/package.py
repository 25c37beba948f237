#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of debian/: built with Debian's own tools, looked at by lintian, and lived with in a container.

The station is installed and starts; a transfer runs while a newer version is put over it, is paused by that and goes
on; the package is removed, which leaves configuration and records, and purged, which leaves nothing.

Usage: package.py [--all]      without --all the packages are built without optimisation, which is quicker
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import tree  # noqa: E402
from azurite import Azurite, Missing as NoEmulator  # noqa: E402
from container import ContainedStation, Container, Missing  # noqa: E402
from prepared import Prepared  # noqa: E402

BUILD_LIMIT_SEC = 600
MIB = 1 << 20
QUICK, SLOW = 8 * MIB, MIB // 4  # bytes a second: for the first files; until the new version is there
OPTIONS = "parallel=2" if "--all" in sys.argv else "parallel=2 noopt noautodbgsym"


def run(*command, **options) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False,
                          **{"timeout": 120, **options})
    if done.returncode != 0:
        raise AssertionError(f"{command[0]}: {done.returncode}\n{(done.stdout + done.stderr)[-6000:]}")
    return done.stdout


def copy_source(to: pathlib.Path) -> None:
    """What git knows; or, of an unpacked archive, all but what was built."""
    if (tree.SOURCE / ".git").exists():
        names = [n for n in run("git", "-C", tree.SOURCE, "ls-files", "-z").split("\0") if n]
        for name in names:
            if (tree.SOURCE / name).exists():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree.SOURCE / name, to / name, follow_symlinks=False)
    else:
        shutil.copytree(tree.SOURCE, to, symlinks=True, ignore=shutil.ignore_patterns("build*"), dirs_exist_ok=True)


class Package(unittest.TestCase):
    """One after the other: each stands on the one before."""

    @classmethod
    def setUpClass(cls) -> None:
        for program in ("dpkg-buildpackage", "dh", "lintian"):
            if not shutil.which(program):
                tree.skip(f"{program} is not installed")
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="berth-package-")))
        try:
            cls.server = cls.enterClassContext(Azurite())
            cls.container = cls.enterClassContext(Container(cls.folder))
            cls.container.boot()
        except (Missing, NoEmulator) as why:
            cls.doClassCleanups()
            tree.skip(str(why))
        cls.drive = Prepared(cls.folder, "PACKAGE1", size_mib=96)
        cls.drive.credential = ""
        for n in range(6):
            cls.drive.add(f"package/{n}.bin", f"\\{n}.bin", os.urandom(8 * MIB))
        cls.drive.make()
        source = cls.folder / "berth"
        copy_source(source)
        build = {**os.environ, "DEB_BUILD_OPTIONS": OPTIONS, "LC_ALL": "C.UTF-8"}
        # A python of one's own in front of Debian's, which meson is written for, is in the way.
        build["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        for name in [n for n in build if n.startswith(("MESON", "CFLAGS", "LDFLAGS", "CC"))]:
            del build[name]
        run("dpkg-buildpackage", "--build=binary", "--unsigned-source", "--unsigned-changes", cwd=source, env=build,
            timeout=BUILD_LIMIT_SEC)

    def package(self, name: str) -> pathlib.Path:
        found = [p for p in self.folder.glob(f"{name}_*.deb") if "+new" not in p.name]
        self.assertEqual(len(found), 1, name)
        return found[0]

    def newer(self) -> pathlib.Path:
        """The same with a higher version: what an upgrade does does not hang on what is in it."""
        opened = self.folder / "opened"
        run("dpkg-deb", "--raw-extract", self.package("berth"), opened)
        control = opened / "DEBIAN/control"
        text = control.read_text(encoding="utf-8")
        control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+new", text), encoding="utf-8")
        packed = self.folder / "berth_new+new.deb"
        run("dpkg-deb", "--root-owner-group", "-Znone", "--build", opened, packed)
        return packed

    def put(self, package: pathlib.Path) -> str:
        """Into the container, where it is installed."""
        shutil.copyfile(package, self.container.path(f"/var/tmp/{package.name}"))
        return self.container.run("dpkg", "--install", f"/var/tmp/{package.name}", limit=120)

    def failed_units(self) -> str:
        return self.container.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "*berth*").strip()

    def test_1_lintian(self) -> None:
        [changes] = self.folder.glob("*.changes")
        found = subprocess.run(["lintian", "--allow-root", "--tag-display-limit=0", str(changes)],
                               capture_output=True, text=True, timeout=180, check=False)
        faults = [line for line in found.stdout.splitlines() if line.startswith(("E:", "W:"))]
        self.assertEqual((faults, found.returncode), ([], 0), found.stdout + found.stderr)

    def test_2_contents(self) -> None:
        """Nothing of the station is in the customers' package, nor the other way round."""
        files = {name: {line.split()[5].lstrip(".") for line in run("dpkg-deb", "--contents", self.package(name)).splitlines()
                        if not line.endswith("/")} for name in ("berth", "berth-prep")}
        self.assertEqual(files["berth"] & files["berth-prep"], set())
        for file in ("/usr/libexec/berth/berthd", "/usr/libexec/berth/berth-worker", "/usr/bin/berthctl",
                     "/lib/systemd/system/berthd.service", "/lib/udev/rules.d/60-berth.rules",
                     "/usr/lib/sysusers.d/berth.conf", "/usr/lib/tmpfiles.d/berth.conf", "/etc/berth/berthd.conf",
                     "/usr/share/man/man1/berthctl.1.gz", "/usr/share/man/man8/berthd.8.gz",
                     "/usr/share/man/man5/berthd.conf.5.gz", "/usr/share/bash-completion/completions/berthctl.bash"):
            self.assertIn(file, files["berth"])
        for file in ("/usr/bin/berth-prep", "/usr/share/man/man1/berth-prep.1.gz",
                     "/usr/share/bash-completion/completions/berth-prep.bash"):
            self.assertIn(file, files["berth-prep"])

    def test_3_install(self) -> None:
        self.put(self.package("berth"))
        self.put(self.package("berth-prep"))
        self.assertEqual(self.container.run("systemctl", "is-active", "berthd", "berth-worker.socket").split(),
                         ["active", "active"])
        self.assertEqual(self.container.run("systemctl", "is-enabled", "berthd", "berth-worker.socket").split(),
                         ["enabled", "enabled"])
        self.assertEqual(self.failed_units(), "")
        station = ContainedStation(self.container, self.server)
        station.wait(station.answers, what="an answer from the daemon")
        self.container.run("berth-prep", "--version")

    def test_4_upgrade_while_a_drive_is_copied(self) -> None:
        bays = self.container.path("/srv/bays/1")
        bays.mkdir(parents=True)
        key = self.container.path("/etc/berth/account.key")
        key.write_text(self.server.key + "\n", encoding="ascii")
        key.chmod(0o600)
        self.container.run("chown", "berth:", "/etc/berth/account.key")
        self.container.path("/etc/berth/berthd.conf.d/test.conf").write_text(
            f"[station]\nbandwidth = {SLOW}\n[bay 1]\ndirectory = /srv/bays/1\n[account {self.server.account}]\n"
            f"endpoint = {self.server.endpoint}\nallow_plain = yes\ncredential = key\n"
            "credential_file = /etc/berth/account.key\n", encoding="ascii")
        self.container.run("systemctl", "restart", "berthd")
        station = ContainedStation(self.container, self.server)
        station.wait(station.answers, what="an answer from the daemon")
        station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": QUICK})
        station.job("package", self.drive.journal)
        station.dock(self.drive.image, "1")
        station.wait(lambda: station.drive("PACKAGE1").get("bytes_done", 0) >= 8 * MIB, what="the first file")
        station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": SLOW})
        before = self.container.show("berthd", "MainPID")["MainPID"]
        self.put(self.newer())
        self.assertNotEqual(self.container.show("berthd", "MainPID")["MainPID"], before, "the new one runs")
        station.wait(station.answers, what="an answer from the new daemon")
        view = station.drive("PACKAGE1")
        self.assertEqual((view["state"], view["copy_status"]), ("Transferring", "InProgress"), view)
        self.assertGreaterEqual(view["bytes_done"], 8 * MIB, "what was done is known")
        station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 0})
        view = station.wait_drive("PACKAGE1", state="Completed")
        self.assertEqual(view["copy_status"], "Completed", view)
        sizes = self.server.client("""const found = []; for await (const b of
            service.getContainerClient('package').listBlobsFlat()) found.push(b.properties.contentLength);
            return found;""")
        self.assertEqual(sizes, [8 * MIB] * 6)
        self.assertEqual(self.failed_units(), "")
        self.assertIn("+new", self.container.run("dpkg-query", "--show", "berth"))

    def test_5_remove(self) -> None:
        self.container.run("dpkg", "--remove", "berth")
        self.assertEqual(self.container.run("pidof", "berthd", "berth-worker", fine=None).strip(), "")
        self.assertFalse(self.container.path("/run/berth/worker.sock").exists())
        self.assertTrue(self.container.path("/var/lib/berth/store.sqlite").exists(), "records stay")
        self.assertTrue(self.container.path("/etc/berth/berthd.conf").exists(), "configuration stays")

    def test_6_purge(self) -> None:
        self.container.run("rm", "-r", "/etc/berth/berthd.conf.d/test.conf", "/etc/berth/account.key")
        self.container.run("dpkg", "--purge", "berth", "berth-prep")
        left = self.container.run("find", "/etc", "/usr", "/var/lib", "/var/cache", "/run", "-xdev", "-iname", "*berth*",
                                  "-not", "-path", "/var/lib/systemd/*").split()
        self.assertEqual(left, [])
        self.assertEqual(self.failed_units(), "")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2, failfast=True)
