#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of an encrypted drive, listed and taken out with berth-prep unlock; nothing leaves the folder, nothing is lost in it."""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.environ["BERTH_SOURCE"], "tests", "lib"))
from prepared import Prepared  # noqa: E402

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
BIG = random.Random(5).randbytes(9_000_001)
HOSTILE = "\x1b[31mred \x07"
LONG = "\u6f22" * 255
FILES = {
    "\\top.txt": b"top",
    "\\s1\\big.bin": BIG,
    "\\s1\\empty": b"",
    "\\s1\\deep\\er\\one": b"x",
    "\\s1\\deep\\\u00fc \U0001f600.txt": b"smile",
    f"\\s1\\{HOSTILE}": b"bell",
    "\\s1\\..hidden": b"dots",
}


def run(*arguments):
    return subprocess.run([PREP, *map(str, arguments)], capture_output=True, text=True, timeout=120)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.drives = tempfile.TemporaryDirectory(prefix="berth-files-")
        cls.drive = Prepared(pathlib.Path(cls.drives.name), "FILES1")
        cls.drive.files = dict(FILES)
        cls.drive.files[f"\\long\\{LONG}"] = b"long"
        cls.drive.make()

    @classmethod
    def tearDownClass(cls):
        cls.drives.cleanup()

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="berth-out-")
        self.out = pathlib.Path(self.temporary.name) / "out"

    def tearDown(self):
        self.temporary.cleanup()

    def unlock(self, *arguments):
        done = run("unlock", self.drive.image, "--recovery-key-file", self.drive.key_file, *arguments, "--json")
        return done.returncode, json.loads(done.stdout), done

    def tree(self):
        return {str(p.relative_to(self.out)): p.read_bytes() for p in self.out.rglob("*") if p.is_file()}

    # ---- list ----

    def names(self, *arguments):
        code, report, done = self.unlock("--list", *arguments)
        self.assertEqual(code, 0, done.stderr)
        return [e["name"] for e in report["entries"]], report["entries"]

    def test_list(self):
        names, entries = self.names()
        self.assertEqual(names, sorted(names))
        self.assertEqual(names, ["DriveManifest.xml", "System Volume Information", "long", "s1", "top.txt"])
        self.assertEqual([(e["kind"], e["bytes"]) for e in entries if e["name"] in ("s1", "top.txt")], [("folder", 0), ("file", 3)])
        names, entries = self.names("\\S1")
        self.assertEqual(names, sorted([HOSTILE, "..hidden", "big.bin", "deep", "empty"]))
        self.assertIn(len(BIG), [e["bytes"] for e in entries])
        self.assertEqual(self.names("/s1/deep/er")[0], ["one"])
        self.assertEqual(self.names("top.txt")[0], ["top.txt"])

    def test_list_recursive(self):
        names, _ = self.names("--recursive", "s1")
        self.assertEqual(set(names), {p.replace("\\s1", "", 1) for p in FILES if p.startswith("\\s1")} | {"\\deep", "\\deep\\er"})

    def test_list_is_safe_to_look_at(self):
        done = run("unlock", self.drive.image, "--recovery-key-file", self.drive.key_file, "--list", "s1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("\x1b", done.stdout)
        self.assertNotIn("\x07", done.stdout)
        self.assertIn("\\x1B[31mred", done.stdout.replace("\\x1b", "\\x1B"))

    def test_list_nothing(self):
        code, report, _ = self.unlock("--list", "\\none")
        self.assertEqual((code, report["error"]["message"].startswith("\\none: it is not on the drive")), (3, True), report)

    # ---- extract ----

    def test_extract_a_folder(self):
        code, report, done = self.unlock("--extract", "\\s1", "--to", self.out)
        self.assertEqual(code, 0, done.stderr)
        self.assertEqual(self.tree(), {p[4:].replace("\\", "/"): data for p, data in FILES.items() if p.startswith("\\s1")})
        self.assertEqual(report["extracted"], {"files": 6, "folders": 2, "bytes": sum(map(len, self.tree().values())), "leftOut": 0})
        self.assertEqual(int((self.out / "big.bin").stat().st_mtime), 130000000000000000 // 10**7 - 11644473600)

    def test_extract_a_file(self):
        self.assertEqual(self.unlock("--extract", "s1/deep/er/one", "--to", self.out)[0], 0)
        self.assertEqual(self.tree(), {"one": b"x"})

    def test_extract_everything(self):
        code, report, _ = self.unlock("--extract", "\\", "--to", self.out)
        found = self.tree()
        # One name is longer than this file system takes; it is told and left out.
        self.assertEqual((code, report["extracted"]["leftOut"], [f["name"] for f in report["findings"]]), (1, 1, ["not-extracted"]))
        for path, data in FILES.items():
            self.assertEqual(found[path[1:].replace("\\", "/")], data)

    def test_nothing_is_overwritten(self):
        self.out.mkdir()
        (self.out / "top.txt").write_text("mine")
        (self.out / "empty").symlink_to(self.out / "elsewhere")
        code, report, _ = self.unlock("--extract", "top.txt", "--to", self.out)
        self.assertEqual((code, report["extracted"]["leftOut"], self.tree()), (1, 1, {"top.txt": b"mine"}))
        self.assertIn("there is a file of this name", report["findings"][0]["sentence"])
        self.assertEqual(self.unlock("--extract", "s1", "--to", self.out)[1]["extracted"]["leftOut"], 1)
        self.assertFalse((self.out / "elsewhere").exists())

    def test_links_are_not_followed(self):
        outside = self.out.parent / "outside"
        outside.mkdir()
        self.out.mkdir()
        (self.out / "deep").symlink_to(outside)
        code, report, _ = self.unlock("--extract", "s1", "--to", self.out)
        self.assertEqual((code, list(outside.iterdir())), (1, []))
        self.assertEqual(report["extracted"]["files"], 4)

    def test_dry_run(self):
        code, _, done = self.unlock("--extract", "s1", "--to", self.out, "--dry-run")
        self.assertEqual((code, self.out.exists()), (0, False), done.stderr)

    def test_mistakes(self):
        for words in (["--extract", "x"], ["--to", "x"], ["\\s1"], ["--recursive"]):
            self.assertEqual(run("unlock", self.drive.image, "--recovery-key-file", self.drive.key_file, *words).returncode, 2, words)
        self.assertEqual(self.unlock("--extract", "\\none", "--to", self.out)[0], 3)
        self.assertFalse(self.out.exists())
        self.assertEqual(self.unlock("--extract", "s1", "--to", self.out / "a" / "b")[0], 3)


if __name__ == "__main__":
    unittest.main()
