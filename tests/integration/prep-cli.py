#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-prep as a customer meets it: a journal is listed, a real volume is unlocked, mistakes are explained."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
DATA = pathlib.Path(os.environ["BERTH_SHARED"]) / "data" / "bitlk"
KEY = "122221-244442-366663-488884-611105-013574-660000-720885"
JOURNAL = f"""[BeginUpdateRecord][2031/04/09 07:58:44.900][Type:ActivityRecord]\r
ActivityId: DriveInfo\r
DriveState: [BeginValue]\r
<Drive><DriveId>QX7TESTDRV01</DriveId><BitLockerKey>{KEY}</BitLockerKey>\r
<ManifestFile>\\DriveManifest.xml</ManifestFile>\r
<ManifestHash>0123456789ABCDEF0123456789ABCDEF</ManifestHash></Drive>\r
[EndValue]\r
[EndUpdateRecord]\r
"""


def run(*arguments):
    return subprocess.run([PREP, *map(str, arguments)], capture_output=True, text=True, timeout=120)


class Cli(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def file(self, name, content, mode=0o600):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def image(self, name):
        path = self.folder / name
        with open(path, "wb") as out:
            subprocess.run(["xz", "-dc", DATA / f"{name}.xz"], stdout=out, check=True)
        return path

    def test_list(self):
        done = run("list", self.file("a.jrn", JOURNAL), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        drive = json.loads(done.stdout)["drives"][0]
        self.assertEqual((drive["driveId"], drive["state"]), ("QX7TESTDRV01", "ready"))
        self.assertNotIn("122221", done.stdout + done.stderr)

    def test_list_not_ready(self):
        done = run("list", self.file("a.jrn", JOURNAL.replace("ManifestHash", "Other")))
        self.assertEqual(done.returncode, 1)
        self.assertIn("has no ManifestHash", done.stderr)

    def test_list_not_a_journal(self):
        done = run("list", self.file("a.jrn", "hello"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("begins neither with", done.stderr)

    def test_usage(self):
        for words in (["unknown"], ["list"], ["unlock"], ["list", "--odd", "x"], ["unlock", "x", "--raw"]):
            self.assertEqual(run(*words).returncode, 2, words)
        self.assertEqual(run("--help").returncode, 0)
        self.assertEqual(run("unlock", "--help").returncode, 0)
        self.assertIn("0.", run("--version").stdout)

    def test_unlock(self):
        image = self.image("bitlk-aes-xts-128.img")
        right, wrong = self.file("right", "anaconda\n"), self.file("wrong", "python\n")
        out = self.folder / "plain.img"
        done = run("unlock", image, "--info", "--json")
        volume = json.loads(done.stdout)["volume"]
        self.assertEqual((volume["cipher"], volume["state"]), ("AES-XTS-128", "encrypted"))
        self.assertEqual(run("unlock", image, "--password-file", right, "--raw", out).returncode, 0)
        digest = hashlib.sha256(out.read_bytes()).hexdigest()
        self.assertEqual(digest, "674e3a976927fd62f3fc26df2c695cac75b8d364e3b45393717efa971f16db0f")
        self.assertEqual(run("unlock", image, "--password-file", right, "--raw", out).returncode, 3)
        done = run("unlock", image, "--password-file", wrong, "--json")
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report["driveStatus"]), (3, "BitLockerKeyInvalid"))
        self.assertEqual(report["error"]["reason"], "wrong-key")
        self.assertNotIn("python", done.stdout + done.stderr)

    def test_whole_drives(self):
        """The data volume is found behind a table, past the partitions that Windows keeps for itself."""
        volume = self.image("bitlk-aes-xts-128.img").read_bytes()
        tables = {
            "mbr": "label: dos\nstart=2048, size=204800, type=7\n",
            "gpt": "label: gpt\nstart=2048, size=32768, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE\n"
                   "start=34816, size=204800, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n",
        }
        for name, table in tables.items():
            drive = self.folder / f"{name}.img"
            with open(drive, "wb") as out:
                out.truncate(256 << 20)
            subprocess.run(["/sbin/sfdisk", "-q", drive], input=table, text=True, check=True)
            with open(drive, "r+b") as out:
                out.seek((34816 if name == "gpt" else 2048) * 512)
                out.write(volume)
            plain = self.folder / f"{name}.plain"
            done = run("unlock", drive, "--password-file", self.file("p", "anaconda\n"), "--raw", plain, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["partition"]["number"], 2 if name == "gpt" else 1)
            digest = hashlib.sha256(plain.read_bytes()).hexdigest()
            self.assertEqual(digest, "674e3a976927fd62f3fc26df2c695cac75b8d364e3b45393717efa971f16db0f")

    def test_unlock_mistakes(self):
        self.assertIn("cannot be opened", run("unlock", self.folder / "none").stderr)
        self.assertIn("not encrypted", run("unlock", self.file("plain", bytes(4096))).stderr)
        image = self.image("bitlk-aes-xts-128.img")
        self.assertIn("no key was given", run("unlock", image).stderr)
        readable = self.file("key", "x", 0o644)
        self.assertIn("others may read it", run("unlock", image, "--password-file", readable).stderr)
        bad = self.file("bad", KEY.replace("366663", "366664"))
        self.assertIn("group 3", run("unlock", image, "--recovery-key-file", bad).stderr)

    def test_suspended_opens_without_key(self):
        done = run("unlock", self.image("dissect-suspended.bin"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("[clear-key]", done.stderr)
        self.assertIn("[volume-truncated]", done.stderr)


if __name__ == "__main__":
    if not DATA.is_dir():
        print(f"SKIP: no BitLocker volumes: {DATA} is not there")
        sys.exit(77)
    unittest.main()
