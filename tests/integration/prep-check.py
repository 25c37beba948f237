#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives against their manifests: berth-prep validate and verify-export find each way in which one can be wrong."""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.environ["BERTH_SOURCE"], "tests", "lib"))
from prepared import Prepared, md5  # noqa: E402

PREP = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berth-prep")
METADATA = b'<?xml version="1.0" encoding="UTF-8"?>\n<Metadata>\n<project>willow</project>\n</Metadata>\n'
PROPERTIES = b'<?xml version="1.0" encoding="UTF-8"?>\n<Properties>\n<Content-Type>text/plain</Content-Type>\n</Properties>\n'
BIG = random.Random(4).randbytes(9_000_001)


def run(*arguments):
    return subprocess.run([PREP, *map(str, arguments)], capture_output=True, text=True, timeout=120)


class Drives(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="berth-check-")
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def report(self, *arguments):
        done = run(*arguments, "--json")
        self.assertNotIn("-", done.stdout[:1])
        return done, json.loads(done.stdout)

    def validate(self, drive, *more):
        done, report = self.report("validate", drive.image, "--journal", drive.journal, *more)
        self.assertNotIn(drive.key, done.stdout + done.stderr)
        return done.returncode, report, [f["name"] for f in report.get("findings", []) if f["severity"] == "error"], \
            [f["name"] for f in report.get("findings", []) if f["severity"] == "warning"]

    def good(self, serial="GOOD1", **more):
        drive = Prepared(self.folder, serial, **more)
        drive.add("attic/big.bin", "\\s1\\deep\\big.bin", BIG)
        drive.add("attic/odd.bin", "\\s1\\odd.bin", BIG[:1000], block=7)
        drive.add("attic/empty", "\\s1\\empty", b"")
        drive.add("attic/one", "\\s1\\one", b"x")
        pages = bytes(512) + b"A" * 512 + bytes(7168)
        drive.add("attic/p.vhd", "\\s1\\p.vhd", pages, pages=[(512, 512), (4096, 4096)])
        return drive

    # ---- validate ----

    def test_good(self):
        drive = self.good()
        drive.files["\\s1\\m.xml"], drive.files["\\s1\\p.xml"] = METADATA, PROPERTIES
        drive.list_extra = (f'<MetadataPath Hash="{md5(METADATA)}">\\s1\\m.xml</MetadataPath>'
                            f'<PropertiesPath Hash="{md5(PROPERTIES)}">\\s1\\p.xml</PropertiesPath>')
        drive.make()
        code, report, errors, warnings = self.validate(drive)
        self.assertEqual((code, errors, warnings), (0, [], []))
        entry = report["drives"][0]
        self.assertEqual((entry["driveStatus"], entry["inOrder"], entry["serial"]), ("Completed", True, "GOOD1"))
        # 3 blocks, 143 blocks of 7 bytes, one byte, two page ranges, two sidecar files
        self.assertEqual((entry["blobs"], entry["ranges"]), (5, 3 + 143 + 1 + 2))
        self.assertEqual(entry["bytes"], len(BIG) + 1000 + 1 + 512 + 4096 + len(METADATA) + len(PROPERTIES))

    def test_damaged_files(self):
        drive = self.good("BAD1")
        flipped = bytearray(BIG)
        flipped[5 << 20] ^= 1
        drive.add("attic/flipped", "\\s1\\flipped", BIG, on_drive=bytes(flipped))
        drive.add("attic/short", "\\s1\\short", BIG, on_drive=BIG[:5 << 20])
        drive.add("attic/long", "\\s1\\long", b"abc", on_drive=b"abcd")
        drive.add("attic/gone", "\\s1\\gone", b"abc", there=False)
        drive.add("attic/folder", "\\s1\\deep", b"abc", there=False)
        drive.add("attic/side", "\\s1\\side", b"abc",
                  extra=f'<MetadataPath Hash="{md5(METADATA)}">\\s1\\side.m</MetadataPath>'
                        f'<PropertiesPath Hash="{md5(b"<Odd/>")}">\\s1\\side.p</PropertiesPath>')
        drive.files["\\s1\\side.m"], drive.files["\\s1\\side.p"] = METADATA + b"\n", b"<Odd/>"
        drive.make()
        code, report, errors, warnings = self.validate(drive)
        self.assertEqual(code, 1)
        self.assertEqual(sorted(errors), sorted([
            "range-corrupted", "range-file-unexpected-end", "file-not-found", "file-not-found",
            "metadata-corrupted", "properties-xml-read-failed"]))
        self.assertEqual(warnings, ["file-longer"])
        self.assertEqual(report["drives"][0]["driveStatus"], "CompletedWithErrors")
        damaged = [f for f in report["findings"] if f["name"] == "range-corrupted"][0]
        self.assertEqual(damaged["blob"], "attic/flipped")
        self.assertIn("bytes 4194304 to 8388608", damaged["sentence"])
        self.assertIn(md5(BIG[4 << 20:8 << 20]), damaged["sentence"])

    def test_wrong_hash_of_manifest(self):
        drive = self.good("HASH1")
        drive.make(manifest_hash="0" * 32)
        code, report, errors, _ = self.validate(drive)
        self.assertEqual((code, errors, report["drives"][0]["driveStatus"]), (1, ["hash-mismatch"], "ManifestCorrupted"))

    def test_wrong_key(self):
        drive = self.good("KEY1")
        drive.make(key="122221-244442-366663-488884-611105-013574-660000-720885")
        code, report, errors, _ = self.validate(drive)
        self.assertEqual((code, errors, report["drives"][0]["driveStatus"]), (1, ["wrong-key"], "BitLockerKeyInvalid"))

    def test_other_serials(self):
        drive = self.good("SERIAL1")
        drive.manifest_serial = "OTHER2"
        drive.make(journal_serial="OTHER1")
        code, report, errors, _ = self.validate(drive)
        self.assertEqual((code, sorted(errors)), (1, ["drive-id-mismatch", "drive-not-in-journal"]))
        code, _, errors, _ = self.validate(drive, "--serial", "OTHER1")
        self.assertEqual((code, errors), (1, ["drive-id-mismatch"]))

    def test_limits_of_the_specification(self):
        drive = self.good("LIMIT1")
        drive.add("attic/twice", "\\s1\\a", b"abc")
        drive.add("attic/twice", "\\s1\\b", b"abc")
        drive.add("Attic/capital", "\\s1\\c", b"abc")
        drive.add("elsewhere/c", "\\s1\\d", b"abc")
        drive.add("attic/odd.vhd", "\\s1\\e", bytes(1000), pages=[(0, 512)])
        drive.make()
        code, _, errors, warnings = self.validate(drive)
        self.assertEqual(code, 1)
        for name in ("container-invalid", "blob-outside-container", "page-length-unaligned"):
            self.assertIn(name, errors)
        self.assertIn("blob-path-twice", warnings)

    def test_missing_manifest(self):
        drive = self.good("NONE1")
        drive.make()
        drive.journal.write_text(drive.journal.read_text().replace("DriveManifest", "Other"))
        code, report, errors, _ = self.validate(drive)
        self.assertEqual((code, report["drives"][0]["driveStatus"]), (1, "ManifestNotFound"))

    def test_two_drives_of_a_job(self):
        one, two = self.good("ONE"), Prepared(self.folder, "TWO")
        two.add("attic/big.bin", "\\s1\\other.bin", b"another")
        one.make()
        two.make()
        done, report = self.report("validate", one.image, two.image, "--journal", one.journal, "--journal", two.journal)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([f["name"] for f in report["findings"]], ["blob-path-twice"])
        self.assertEqual(len(report["drives"]), 2)
        done, _ = self.report("validate", one.image, one.image, "--journal", one.journal)
        self.assertIn("[drive-twice]", done.stderr)

    def test_one_account_and_its_cipher(self):
        drives = [self.good(f"ACCOUNT{i}") for i in (1, 2, 3)]
        for i, drive in enumerate(drives):
            drive.entries = [e.replace("attic/", f"attic{i}/") for e in drive.entries]
            drive.credential = f"<StorageAccountKey>{'c2Vjb25k' if i == 2 else 'Zmlyc3Q='}</StorageAccountKey>"
            drive.method = "xts-128" if i == 1 else "xts-256"
            drive.make()
        journals = sum((["--journal", d.journal] for d in drives), [])
        done, report = self.report("validate", *(d.image for d in drives), *journals)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([(f["name"], f["file"].rsplit("/", 1)[-1]) for f in report["findings"]],
                         [("cipher-short-key", "ACCOUNT2.img"), ("several-accounts", "ACCOUNT3.img:\\DriveManifest.xml")])
        self.assertNotIn("Zmlyc3Q", done.stdout + done.stderr)

    def test_sectors_of_4096_bytes(self):
        drive = self.good("SECTOR1")
        drive.sector_bytes = 4096
        drive.make()
        code, report, errors, _ = self.validate(drive)
        self.assertEqual((code, errors), (1, ["volume-sector-size"]))
        self.assertEqual(report["drives"][0]["faults"], 0)

    def test_not_encrypted(self):
        plain = self.folder / "PLAIN.img"
        plain.write_bytes(bytes(1 << 20))
        drive = self.good("X")
        drive.make(journal_serial="PLAIN")
        done, report = self.report("validate", plain, "--journal", drive.journal)
        self.assertEqual(done.returncode, 1)
        self.assertIn(report["drives"][0]["driveStatus"], ("BitLockerNotActivated", "BitLockerVolumeNotFound"))

    def test_usage(self):
        self.assertEqual(run("validate", "x").returncode, 2)
        self.assertEqual(run("verify-export").returncode, 2)
        drive = self.good("U")
        drive.make()
        self.assertEqual(run("validate", self.folder / "none.img", "--journal", drive.journal).returncode, 3)

    # ---- verify-export ----

    def test_export(self):
        drive = self.good("EXP1", export=True)
        drive.make()
        done, report = self.report("verify-export", drive.image, "--recovery-key-file", drive.key_file,
                                   "--manifest-hash", drive.manifest_hash)
        self.assertEqual((done.returncode, report["fetchAgain"]), (0, []), done.stderr)
        self.assertEqual((report["checked"]["blobs"], report["checked"]["faults"]), (5, 0))

    def test_export_to_fetch_again(self):
        drive = self.good("EXP2", export=True)
        drive.add("attic/gone & lost", "\\s1\\gone", b"abc", there=False)
        drive.add("attic/flipped", "\\s1\\flipped", BIG, on_drive=bytes(len(BIG)))
        drive.add("attic/snap", "\\s1\\snap", b"abc", on_drive=b"abd",
                  extra="<Snapshot>2031-04-09T01:02:03.0000000Z</Snapshot>")
        drive.make()
        again = self.folder / "again.xml"
        done, report = self.report("verify-export", drive.image, "--recovery-key-file", drive.key_file,
                                   "--manifest-hash", drive.manifest_hash.lower(), "--fetch-again", again)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([b["blob"] for b in report["fetchAgain"]], ["attic/flipped", "attic/gone & lost", "attic/snap"])
        self.assertEqual(report["checked"]["faults"], 1 + 3 + 1)
        self.assertEqual([(r["blob"], r["offset"], r["length"]) for r in report["badRanges"] if r["blob"] == "attic/flipped"],
                         [("attic/flipped", at, min(4 << 20, len(BIG) - at)) for at in range(0, len(BIG), 4 << 20)])
        text = again.read_text()
        self.assertIn('<BlobPath IncludeSnapshots="false">attic/gone &amp; lost</BlobPath>', text)
        self.assertIn('<BlobPath SnapshotTime="2031-04-09T01:02:03.0000000Z">attic/snap</BlobPath>', text)

    def test_export_manifest(self):
        drive = self.good("EXP3", export=True)
        drive.make()
        key = ["--recovery-key-file", drive.key_file]
        done, _ = self.report("verify-export", drive.image, *key)
        self.assertEqual(done.returncode, 0)
        self.assertIn("no hash was given", done.stderr)
        done, report = self.report("verify-export", drive.image, *key, "--manifest-hash", "0" * 32)
        self.assertEqual((done.returncode, report["driveStatus"]), (3, "ManifestCorrupted"))
        other = self.good("EXP4", export=True)
        other.manifest_path = "\\4967d63b-2e29-4ad8-8399-f6a339e3d001.manifest"
        other.make()
        done, report = self.report("verify-export", other.image, "--recovery-key-file", other.key_file)
        self.assertEqual((done.returncode, report["manifest"]["path"]), (0, other.manifest_path), done.stderr)
        other.files["\\second.manifest"] = b"x"
        other.make()
        done, report = self.report("verify-export", other.image, "--recovery-key-file", other.key_file)
        self.assertEqual((done.returncode, report["error"]["message"]),
                         (3, "\\: there are several manifests. name it with --manifest."))
        done, report = self.report("verify-export", drive.image, *key, "--manifest", "\\none")
        self.assertEqual((done.returncode, report["driveStatus"]), (3, "ManifestNotFound"))

    # ---- rebuild-journal ----

    def test_rebuilt_journal(self):
        drive = self.good("LOST1")
        drive.make()
        for option, file, text in (("--recovery-key-file", drive.key_file, drive.key),
                                   ("--external-key", f"{drive.image}.bek", None),
                                   ("--external-key", f"{drive.image}.external", None)):
            journal = self.folder / "again.jrn"
            journal.unlink(missing_ok=True)
            done = run("rebuild-journal", drive.image, "--journal", journal, option, file)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn(drive.key, done.stdout + done.stderr)
            self.assertEqual(journal.stat().st_mode & 0o777, 0o600)
            if text is None:
                text = pathlib.Path(f"{drive.image}.external").read_text()
            self.assertIn(f"<BitLockerKey>{text}</BitLockerKey>", journal.read_text())
            self.assertIn(f"<ManifestHash>{drive.manifest_hash}</ManifestHash>", journal.read_text())
            done = run("validate", drive.image, "--journal", journal)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_rebuilding_is_refused(self):
        drive = self.good("LOST2")
        drive.make(manifest_hash="0" * 32)
        key = ["--recovery-key-file", drive.key_file]
        before = drive.journal.read_text()
        self.assertEqual(run("rebuild-journal", drive.image, "--journal", drive.journal, *key).returncode, 4)
        self.assertEqual(run("rebuild-journal", drive.image, "--journal", drive.journal, *key, "--dry-run").returncode, 0)
        self.assertEqual(drive.journal.read_text(), before)
        self.assertEqual(run("rebuild-journal", drive.image, "--journal", drive.journal, *key, "--yes").returncode, 0)
        self.assertEqual(self.validate(drive)[0], 0)
        new = self.folder / "new.jrn"
        password = ["--password-file", f"{drive.image}.password"]
        self.assertEqual(run("rebuild-journal", drive.image, "--journal", new, *password).returncode, 2)
        self.assertEqual(run("rebuild-journal", drive.image, "--journal", new, *key, "--serial", "ANOTHER").returncode, 3)
        self.assertEqual(run("rebuild-journal", drive.image, *key).returncode, 2)
        self.assertFalse(new.exists())


if __name__ == "__main__":
    unittest.main()
