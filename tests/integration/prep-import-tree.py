#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of files with hostile names (8,000, or as many as BERTH_FILES says) goes onto two drives, and every byte of it
is read back twice: by our own reader (berth-prep validate, all hashes) and by dislocker with ntfs-3g (content against
the sources, and the hashes of the manifest against that content). A third drive was filled and emptied by ntfs-3g
before, so that a file must break into many pieces.
"""
import hashlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from importing import PARTITION_BYTES, check_hashes, drive, driveset, key_file, manifest_blobs, prep

os.environ["PATH"] += ":/usr/sbin:/sbin"
FILES = int(os.environ.get("BERTH_FILES", 8_000))
LARGE = 2_300_000_000  # more than 2 GiB: every 32-bit length breaks
TOOLS = ("dislocker-fuse", "ntfs-3g", "fusermount3", "ntfsfix", "ntfsinfo")
HOSTILE = ["x" * 255, "x" * 254 + ".", "ü" * 127, "\U0001f600" * 63, "名" * 85, "CON", "con.txt", "Nul", "COM1.log", "lpt9",
           "%43ON", "AUX.c", "trailing.", "trailing. .", "blank ", " leading", "a%2Fb", "100%", "%", "%%", "%zz", "what?",
           "hash#tag", "semi;colon&amp;", "quo\"te", "st*r", "pi|pe", "<lt>", "col:on", "back\\slash", "..dots", "...",
           "Case", "case", "CASE", "cAsE", "e\u0301", "\u00e9", "\u202eright", "tilde~1", "FILENA~1.TXT", "$MFT", "$Recycle.Bin",
           "new{brace}", "plus+plus", "desktop.ini", "sess.sidecars", "DriveManifest.xml", "System Volume Information"]


class Mounted:
    """A drive's file system as dislocker and ntfs-3g see it."""

    def __init__(self, image, key, folder, write=False):
        self.outer, self.inner = folder / "outer", folder / "inner"
        self.outer.mkdir()
        self.inner.mkdir()
        subprocess.run(["dislocker-fuse", *([] if write else ["-r"]), "-V", image, "-O", str(PARTITION_BYTES),
                        "-p" + key.read_text(), "--", self.outer], check=True, capture_output=True, timeout=60)
        options = "streams_interface=none" + ("" if write else ",ro")
        try:
            subprocess.run(["ntfs-3g", "-o", options, self.outer / "dislocker-file", self.inner], check=True,
                           capture_output=True, timeout=60)
        except BaseException:
            self.unmount(self.outer)
            raise

    @staticmethod
    def unmount(place):
        for _ in range(50):
            if subprocess.run(["fusermount3", "-u", place], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        place.rmdir()

    def __enter__(self):
        return self.inner

    def __exit__(self, *_):
        self.unmount(self.inner)
        self.unmount(self.outer)


class Tree(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="berth-tree-", dir=os.environ.get("BERTH_SCRATCH"))
        self.folder = pathlib.Path(self.temporary.name)
        self.source = self.folder / "source"
        self.source.mkdir()
        self.journal = self.folder / "job.jrn"

    def tearDown(self):
        self.temporary.cleanup()

    def run_prep(self, *arguments):
        began = time.monotonic()
        done = prep(*arguments, timeout=900)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-3000:])
        print(f"{arguments[0]}: {time.monotonic() - began:.1f} s", flush=True)
        return done

    def plant(self):
        dice = random.Random(20261121)
        noise = dice.randbytes(1 << 20)
        for name in HOSTILE:
            folder = self.source / "hostile"
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(name.encode() * 3)
            (self.source / "folders" / name / "deeper").mkdir(parents=True)
            (self.source / "folders" / name / "deeper" / name).write_bytes(name.encode())
        count = 2 * len(HOSTILE)
        while count < FILES - 4:
            folder = self.source / f"d{count % 97}" / f"e{count % 31}"
            folder.mkdir(parents=True, exist_ok=True)
            size = dice.choice((0, 1, 100, 511, 512, 513, 900, 4096, 5000))
            at = dice.randrange(len(noise) - 5000)
            (folder / f"file {count} of many.dat").write_bytes(noise[at:at + size])
            count += 1
        with open(self.source / "large.bin", "wb") as f:  # sparse here, with data at both ends and in the middle
            f.write(noise)
            f.seek(LARGE // 2)
            f.write(noise)
            f.seek(LARGE - 12345)
            f.write(noise[:12345])
        with open(self.source / "hole.vhd", "wb") as f:
            f.truncate(64 << 20)
        (self.source / "middle.bin").write_bytes(noise * 150)
        (self.source / "odd.bin").write_bytes(noise[:777_777])

    def compare(self, root, blobs, prefix):
        """Every blob of one manifest: content of the drive's file, its source, and the hashes. Returns the names."""
        for blob, said in blobs.items():
            path = root / said["file"][1:].replace("\\", "/")
            source = self.source / blob[len(prefix):]
            with open(path, "rb") as there, open(source, "rb") as original:
                difference = check_hashes(there, said)
                self.assertIsNone(difference, blob)
                there.seek(0)
                while piece := there.read(8 << 20):
                    self.assertEqual(piece == original.read(len(piece)), True, blob)
                self.assertEqual(original.read(1), b"", blob)
        return set(blobs)

    def test_tree_on_two_drives(self):
        self.plant()
        images = [drive(self.folder, "TREE1", 2400), drive(self.folder, "TREE2", 1000 + FILES // 200)]
        rows = self.folder / "dataset.csv"
        rows.write_text("BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\n"
                        f'"{self.source}/","attic/tree/",,no-overwrite,None,None\n')
        self.run_prep("import", "--journal", self.journal, "--session", "sess", "--dataset", rows, "--driveset",
                      driveset(self.folder, *images))
        self.run_prep("validate", "--journal", self.journal, *images)
        expected = {"attic/tree/" + str(p.relative_to(self.source)) for p in self.source.rglob("*") if p.is_file()}
        self.assertEqual(len(expected), FILES)
        seen = set()
        for image in images:
            began = time.monotonic()
            with Mounted(image, key_file(self.journal, image.stem), self.folder) as root:
                blobs = manifest_blobs((root / "DriveManifest.xml").read_bytes())
                names = self.compare(root, blobs, "attic/tree/")
            print(f"dislocker and ntfs-3g, {image.name}: {len(names)} files, {time.monotonic() - began:.1f} s", flush=True)
            self.assertTrue(names)
            self.assertFalse(seen & names)
            seen |= names
        self.assertEqual(seen, expected)

    def test_fragmented_drive(self):
        image = drive(self.folder, "PIECES", 96)
        (self.source / "first").write_bytes(b"first")
        arguments = ("import", "--journal", self.journal)
        self.run_prep(*arguments, "--session", "one", "--drive", image, "--format", "--silent", "--source-dir", self.source,
                      "--destination-dir", "attic/")
        with Mounted(image, key_file(self.journal, "PIECES"), self.folder, write=True) as root:
            numbers = []
            try:
                for i in range(2000):
                    (root / f"fill{i}").write_bytes(b"f" * 65536)
                    numbers.append(i)
            except OSError:
                pass  # full
            (root / f"fill{len(numbers)}").unlink(missing_ok=True)
            for i in numbers[::2]:
                (root / f"fill{i}").unlink()
        (self.source / "first").unlink()
        (self.source / "pieces.bin").write_bytes(random.Random(5).randbytes(30_000_000))
        self.run_prep(*arguments, "--session", "two", "--source-dir", self.source, "--destination-dir", "attic/")
        self.run_prep("validate", "--journal", self.journal, image)
        with Mounted(image, key_file(self.journal, "PIECES"), self.folder) as root:
            blobs = manifest_blobs((root / "DriveManifest.xml").read_bytes())
            self.assertEqual(set(blobs), {"attic/first", "attic/pieces.bin"})
            del blobs["attic/first"]
            self.compare(root, blobs, "attic/")
            for i in numbers[1::2]:
                self.assertEqual((root / f"fill{i}").read_bytes(), b"f" * 65536)
        plain = self.folder / "plain"
        self.run_prep("unlock", image, "--recovery-key-file", key_file(self.journal, "PIECES"), "--raw", plain)
        told = subprocess.run(["ntfsinfo", "-v", "-F", "/two/pieces.bin", plain], capture_output=True, text=True, check=True,
                              timeout=60).stdout
        pieces = re.search(r"fragments: (\d+)", told)
        self.assertTrue(pieces and int(pieces[1]) > 50, told[-300:])
        self.assertIn("processed successfully", subprocess.run(["ntfsfix", "-n", plain], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if not os.path.exists("/dev/fuse"):
        missing.append("/dev/fuse")
    if missing:
        print("SKIP: cannot run here: missing: " + ", ".join(missing))
        sys.exit(77)
    unittest.main()
