#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-prep import, with image files as drives: sessions, refusals, faults, and kill -9 at random moments.

Every prepared drive is checked by berth-prep validate (journal, key, manifest, every block) and its decrypted volume by
ntfsfix and ntfscat. BERTH_SEED repeats a run of the kills.
"""
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from importing import (PREP, dataset, drive, driveset, key_file, manifest_blobs, plain_volume, prep, report)

os.environ["PATH"] += ":/usr/sbin:/sbin"
KILLS = 20
SEED = int(os.environ.get("BERTH_SEED", random.randrange(1 << 30)))


def ntfscat(volume, path):
    return subprocess.run(["ntfscat", "-f", volume, path], capture_output=True, timeout=60, check=True).stdout


class Importing(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="berth-import-")
        self.folder = pathlib.Path(self.temporary.name)
        self.source = self.folder / "source"
        self.source.mkdir()
        self.journal = self.folder / "job.jrn"
        self.decrypted = None

    def tearDown(self):
        self.temporary.cleanup()

    def add(self, name, content):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def start(self, session, *arguments, code=0, **more):
        done = prep("import", "--journal", self.journal, "--session", session, *arguments, **more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def first_drive(self, serial="SERIAL01", mib=128):
        image = drive(self.folder, serial, mib)
        return image, ("--drive", image, "--format", "--silent")

    def one_folder(self, destination="attic/"):
        return ("--source-dir", self.source, "--destination-dir", destination)

    def volume(self, image):
        """The decrypted file system of a drive; made again only when the drive was written."""
        state = (image, image.stat().st_mtime_ns)
        if self.decrypted != state:
            plain_volume(image, key_file(self.journal, image.stem), self.folder / "plain")
            self.decrypted = state
        return self.folder / "plain"

    def check(self, *images):
        """Everything that validate, ntfsfix and ntfsinfo have to say: nothing."""
        done = prep("validate", "--journal", self.journal, *images, "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for image in images:
            volume = self.volume(image)
            done = subprocess.run(["ntfsfix", "-n", volume], capture_output=True, text=True, timeout=60)
            self.assertIn("processed successfully", done.stdout)
            done = subprocess.run(["ntfsinfo", "-m", volume], capture_output=True, text=True, timeout=60)
            self.assertIn("Volume Flags: 0x0000", done.stdout)

    def manifest(self, image):
        volume = self.volume(image)
        return manifest_blobs(ntfscat(volume, "DriveManifest.xml")), volume


class Import(Importing):
    # -- sessions

    def test_two_sessions(self):
        content = {"attic/a.txt": b"hello", "attic/empty": b"", "attic/deep/er/b.bin": os.urandom(9_000_000),
                   "attic/disk.vhd": os.urandom(6 << 20)}
        for name, data in content.items():
            self.add(name[6:], data)
        image, drives = self.first_drive()
        done = self.start("first-1", *drives, *self.one_folder(), "--json")
        self.assertEqual(report(done)["state"], "Completed")
        self.assertEqual(self.journal.stat().st_mode & 0o777, 0o600)
        self.assertEqual((self.folder / "SERIAL01.xml").stat().st_mode & 0o777, 0o600)
        self.assertFalse((self.folder / "job.jrn.d").exists())
        self.check(image)

        shutil.rmtree(self.source)
        self.source.mkdir()
        content["attic/second/c.txt"] = b"later"
        self.add("second/c.txt", "later")
        metadata = self.folder / "m.xml"
        metadata.write_text('<?xml version="1.0"?>\n<Metadata><Who>berth</Who></Metadata>\n')
        self.start("second-1", *self.one_folder(), "--content-md5", "--disposition", "overwrite", "--metadata-file", metadata)
        self.check(image)
        blobs, volume = self.manifest(image)
        self.assertEqual(set(blobs), set(content))
        for name, said in blobs.items():
            path = said["file"].replace("\\", "/")
            self.assertEqual(ntfscat(volume, path), content[name], name)
        self.assertTrue(blobs["attic/disk.vhd"]["page"])
        self.assertEqual(blobs["attic/a.txt"]["disposition"], "rename")
        self.assertEqual(blobs["attic/second/c.txt"]["disposition"], "overwrite")
        self.assertEqual((blobs["attic/a.txt"]["list"], blobs["attic/second/c.txt"]["list"]), ("first-1-0", "second-1-0"))
        properties = ntfscat(volume, blobs["attic/second/c.txt"]["properties"].replace("\\", "/")).decode()
        import base64
        self.assertIn(base64.b64encode(hashlib.md5(b"later").digest()).decode(), properties)

    def test_two_drives_by_files(self):
        for i in range(40):
            self.add(f"f{i}", os.urandom(2_000_000))
        images = [drive(self.folder, f"DRIVE{i}", 80) for i in range(2)]
        rows = dataset(self.folder, f'"{self.source}/","attic/",BlockBlob,no-overwrite,None,None',
                       f'"{self.source}/f0","attic/again.bin",,,,')
        self.start("both", "--dataset", rows, "--driveset", driveset(self.folder, *images))
        self.check(*images)
        there = [self.manifest(image)[0] for image in images]
        self.assertEqual(set(there[0]) | set(there[1]), {f"attic/f{i}" for i in range(40)} | {"attic/again.bin"})
        self.assertFalse(set(there[0]) & set(there[1]))
        self.assertTrue(there[0] and there[1])

    def test_encrypted_drive(self):
        """A drive that another journal prepared, with its key: added to when it holds no manifest."""
        self.add("a", "first")
        image, drives = self.first_drive()
        self.start("gone", *drives, *self.one_folder())
        key = key_file(self.journal, "SERIAL01")
        self.journal = self.folder / "other.jrn"
        done = self.start("new", "--drive", image, "--recovery-key-file", key, *self.one_folder(), code=2)
        self.assertIn("a manifest that this journal does not know", done.stderr)
        self.journal = self.folder / "job.jrn"
        self.start("second", *self.one_folder("attic/second/"))
        self.check(image)

    def test_skip_write(self):
        """The files are there already, put by another hand: only manifest, sidecars and journal are written."""
        content = {f"d{i % 3}/f{i}": os.urandom(i * 1000) for i in range(60)} | {"top.vhd": os.urandom(1 << 20)}
        for name, data in content.items():
            self.add(name, data)
        image, drives = self.first_drive()
        self.start("filled", *drives, *self.one_folder())
        key = key_file(self.journal, "SERIAL01")
        shutil.rmtree(self.source)
        self.journal = self.folder / "second.jrn"
        arguments = ("--drive", image, "--recovery-key-file", key, "--skip-write")
        self.assertIn("does not know", self.start("taken", *arguments, "--source-dir", "\\", "--destination-dir",
                                                  "attic/", code=2).stderr)
        self.journal = self.folder / "job.jrn"
        self.assertIn("no such file", self.start("nothing", *arguments, "--source-dir", "\\none", "--destination-dir",
                                                 "attic/", code=3).stderr)
        self.start("again", *arguments, "--source-dir", "\\filled\\d1\\", "--destination-dir", "attic/copy/", "--content-md5")
        self.check(image)
        blobs, _ = self.manifest(image)
        self.assertEqual({name for name in blobs if name.startswith("attic/copy/")},
                         {f"attic/copy/{name[3:]}" for name in content if name.startswith("d1/")})
        self.assertEqual(blobs["attic/copy/f1"]["file"], "\\filled\\d1\\f1")
        self.assertEqual(blobs["attic/copy/f1"]["ranges"], blobs["attic/d1/f1"]["ranges"])

    def test_dry_run_writes_nothing(self):
        self.add("a", "x")
        image, drives = self.first_drive()
        done = self.start("dry", *drives, *self.one_folder(), "--dry-run")
        self.assertIn("1 files", done.stdout)
        self.assertFalse(self.journal.exists())
        self.assertEqual(image.stat().st_blocks, 0)

    def test_huge_file(self):
        """More than 50,000 blocks of 4 MiB: larger blocks, and a warning that old readers may not take them."""
        os.truncate(self.add("huge.bin", b""), 200 << 30)
        image, drives = self.first_drive(mib=260 << 10)
        done = self.start("huge", *drives, *self.one_folder(), "--dry-run")
        self.assertIn("huge.bin' is larger than 195 GiB", done.stderr)
        done = self.start("huge", *drives, *self.one_folder(), "--dry-run", "--block-size", "8MiB")
        self.assertNotIn("195 GiB", done.stderr)

    # -- refusals, before anything is written

    def refused(self, session, *arguments, code, says):
        images = {p: (p.stat().st_mtime_ns, p.stat().st_blocks) for p in self.folder.glob("*.img")}
        done = self.start(session, *arguments, code=code)
        self.assertIn(says, done.stderr)
        self.assertEqual(images, {p: (p.stat().st_mtime_ns, p.stat().st_blocks) for p in self.folder.glob("*.img")})
        self.assertFalse((self.folder / "job.jrn.d" / f"{session}.plan").exists())

    def test_refusals(self):
        self.add("a", os.urandom(1000))
        image, drives = self.first_drive()
        self.refused("x y z", *drives, *self.one_folder(), code=2, says="session")
        self.refused("usage", *drives, code=2, says="either --dataset")
        self.refused("upper", *drives, *self.one_folder("Attic/"), code=3, says="container")
        self.refused("nodir", *drives, "--source-dir", self.folder / "none", "--destination-dir", "attic/", code=3, says="none")
        self.refused("nokey", "--drive", image, *self.one_folder(), code=3, says="no key of drive SERIAL01")
        self.add("big", b"")
        os.truncate(self.source / "big", 1 << 30)
        self.refused("large", *drives, *self.one_folder(), code=3, says="larger than the largest drive's room")
        (self.source / "big").unlink()
        for i in range(6):
            os.truncate(self.add(f"part{i}", b""), 60 << 20)
        self.refused("many", *drives, *self.one_folder(), code=3, says="more drives")
        shutil.rmtree(self.source)
        self.source.mkdir()
        self.add("same\x01", "x")
        self.refused("control", *drives, *self.one_folder(), code=3, says="control character")
        (self.source / "same\x01").unlink()
        a = self.add("a", "x")
        self.refused("twice", *drives[:0], "--dataset", dataset(self.folder, f"{a},attic/a,,,,", f"{a},attic/a,,,,"),
                     *drives, code=3, says="would become the same blob")
        self.refused("files", "--dataset", dataset(self.folder, f"{a},share/a,file,,,"), *drives, code=3, says="Azure Files")
        self.refused("sector", "--dataset", dataset(self.folder, f"{a},attic/a,PageBlob,,,"), *drives, code=3, says="512")
        self.refused("letter", "--dataset", dataset(self.folder, f"{a},attic/a,,,,"), "--driveset",
                     driveset(self.folder, pathlib.Path("K")), code=3, says="no drive letters")

    def test_stump_of_a_journal(self):
        """Killed while the journal was made: it is empty, or its first word is not whole."""
        self.add("a", "x")
        for number, stump in enumerate(("", "[BeginUpd")):
            image, drives = self.first_drive(f"STUMP{number}")
            self.journal = self.folder / f"stump{number}.jrn"
            self.journal.write_text(stump)
            self.start("first", *drives, *self.one_folder())
            self.check(image)
        self.journal = self.folder / "other.jrn"
        self.journal.write_text("dear diary")
        image, drives = self.first_drive("STUMP2")
        self.refused("first", *drives, *self.one_folder(), code=3, says="begins neither")

    def test_journal_in_the_source(self):
        """Its keys would be uploaded with the files."""
        self.add("a", "x")
        _, drives = self.first_drive()
        self.journal = self.source / "deeper" / "job.jrn"
        self.journal.parent.mkdir()
        done = prep("import", "--journal", self.journal, "--session", "inside", *drives, *self.one_folder())
        self.assertEqual(done.returncode, 3)
        self.assertIn("keys would be uploaded", done.stderr)
        self.assertFalse(self.journal.exists())

    def test_asks_before_formatting(self):
        self.add("a", "x")
        image, _ = self.first_drive()
        subprocess.run(["mkntfs", "-Q", "-F", "-q", image], check=True, capture_output=True, timeout=60)
        before = hashlib.sha256(image.read_bytes()).digest()
        self.refused("ask", "--drive", image, "--format", *self.one_folder(), code=4, says="the device holds")
        self.assertEqual(hashlib.sha256(image.read_bytes()).digest(), before)
        self.start("yes", "--drive", image, "--format", "--yes", *self.one_folder())
        self.check(image)

    def test_a_session_has_one_end(self):
        self.add("a", "x")
        image, drives = self.first_drive()
        self.start("once", *drives, *self.one_folder())
        self.assertEqual([(s["session"], s["state"]) for s in json.loads(prep("list", self.journal, "--json").stdout)["sessions"]],
                         [("once", "Completed")])
        self.assertIn("was finished", self.start("once", *self.one_folder(), code=2).stderr)
        self.assertIn("is finished", self.start("once", "--resume").stdout)  # a script may try twice
        self.assertIn("was finished", self.start("once", "--abort", code=2).stderr)
        self.assertIn("no unfinished session", self.start("never", "--resume", code=2).stderr)
        self.assertIn("holds finished sessions", self.start("again", *drives, *self.one_folder(), code=3).stderr)
        self.check(image)

    # -- faults while it runs

    def test_source_gone_or_changed(self):
        for i in range(6):
            self.add(f"f{i}", os.urandom(100_000))
        image, drives = self.first_drive()
        self.stop_early("faults", *drives, *self.one_folder())
        (self.source / "f1").unlink()
        (self.source / "f2").write_bytes(b"another content")
        done = self.start("faults", "--resume", code=3)
        self.assertIn("f1' was not copied", done.stderr)
        self.assertIn("has changed since the session was planned", done.stderr)
        self.assertIn("was not finished", self.start("other", *self.one_folder(), code=2).stderr)
        self.start("faults", "--resume", "--leave-out")
        self.check(image)
        self.assertEqual(set(self.manifest(image)[0]), {"attic/f0", "attic/f3", "attic/f4", "attic/f5"})

    def test_source_changes_while_it_is_copied(self):
        path = self.add("growing", b"")
        os.truncate(path, 96 << 20)
        self.add("calm", "x")
        image, drives = self.first_drive()
        p = subprocess.Popen([PREP, "import", "--journal", self.journal, "--session", "grow", *map(str, drives),
                              *map(str, self.one_folder())], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not (self.folder / "job.jrn.d" / "grow-0.done").exists() and p.poll() is None:
            time.sleep(0.001)
        with open(path, "ab") as f:
            f.write(b"more")
        errors = p.communicate(timeout=120)[1]
        self.assertEqual(p.returncode, 3, errors)
        self.assertRegex(errors, "growing' was not copied: it (has )?changed")
        self.start("grow", "--resume", "--leave-out")
        self.check(image)
        self.assertEqual(set(self.manifest(image)[0]), {"attic/calm"})

    def stop_early(self, session, *arguments, wait_for="plan", **more):
        """Kills the run as soon as the plan is stored (or the first file copied): nothing has its checkpoint."""
        p = subprocess.Popen([PREP, "import", "--journal", self.journal, "--session", session, "--quiet", *map(str, arguments)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)
        folder = self.folder / "job.jrn.d"
        end = time.monotonic() + 60
        while not list(folder.glob(f"{session}*.{wait_for}")) and p.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        p.kill()
        errors = p.communicate()[1]
        self.assertTrue((folder / f"{session}.plan").exists(), errors)

    def test_drive_fails(self):
        """A drive that takes nothing behind 30 MiB, neither of the files nor, when resumed, of the checkpoint: one error that
        names it; afterwards the session goes on."""
        for i in range(30):
            self.add(f"f{i}", os.urandom(2_000_000))
        image, drives = self.first_drive()
        self.start("plain", *drives, "--source-file", self.add("zero", "x"), "--destination-blob", "attic/zero")
        (self.source / "zero").unlink()
        before = json.loads(prep("list", self.journal, "--json").stdout)["drives"]

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (30 << 20, 30 << 20))
        for arguments, sentence in (([*self.one_folder(), "--checkpoint", "1GiB"], "cannot be written"),
                                    (["--resume", "--checkpoint", "8MiB"], "cannot take the checkpoint")):
            done = self.start("fails", *arguments, code=3, preexec_fn=limit)
            self.assertIn("SERIAL01.img", done.stderr)
            self.assertIn(sentence, done.stderr)
            self.assertEqual(json.loads(prep("list", self.journal, "--json").stdout)["drives"], before)
        self.start("fails", "--resume")
        self.check(image)
        self.assertEqual(len(self.manifest(image)[0]), 31)

    def test_another_drive(self):
        self.add("a", "x")
        image, drives = self.first_drive()
        self.stop_early("swap", *drives, *self.one_folder())
        image.rename(self.folder / "gone.img")
        self.assertEqual(self.start("swap", "--resume", code=3).stdout.count("finished;"), 0)
        (self.folder / "gone.img").rename(image)
        self.start("swap", "--resume")
        self.check(image)

    def test_abort(self):
        self.add("keep", os.urandom(50_000))
        image, drives = self.first_drive()
        self.start("keep", *drives, *self.one_folder())
        for i in range(300):
            self.add(f"more/{i}", os.urandom(5_000))
        self.stop_early("away", *self.one_folder("attic/away/"), "--checkpoint", "100000", wait_for="done")
        self.start("away", "--abort")
        self.assertEqual([p.name for p in self.folder.glob("job.jrn.*")], [])
        self.assertIn("is aborted", self.start("away", "--abort").stdout)
        self.assertIn("was aborted", self.start("away", "--resume", code=2).stderr)

        self.check(image)
        self.assertEqual(set(self.manifest(image)[0]), {"attic/keep"})
        self.start("away", *self.one_folder("attic/away/"))
        self.check(image)
        self.assertEqual(len(self.manifest(image)[0]), 302)

    def test_abort_takes_only_its_own(self):
        """A session's folder is its own: NTFS takes two ids for one where only the case differs."""
        self.add("a", os.urandom(9_000))
        image, drives = self.first_drive()
        self.start("first", *drives, *self.one_folder())
        self.refused("FIRST", *self.one_folder("attic/two/"), code=2, says="has '\\FIRST' already")
        # A drive of another hand, with the same folder on it, and no manifest that could warn.
        tool = os.path.join(os.environ["BERTH_BUILD"], "tests", "tools", "make-volume")
        other, content = self.folder / "HAND.img", b"here before" * 1000
        self.add("b", content)
        subprocess.run([tool, other, "64", "xts-128", "512", "4096", f"{self.source / 'b'}=\\Photos\\a"], check=True, timeout=60)
        key = other.with_name("HAND.img.recovery")
        self.journal = self.folder / "hand.jrn"
        self.refused("photos", "--drive", other, "--recovery-key-file", key, *self.one_folder(), code=2,
                     says="has '\\photos' already")
        self.start("fine", "--drive", other, "--recovery-key-file", key, *self.one_folder())
        self.check(other)
        self.assertEqual(ntfscat(self.folder / "plain", "Photos/a"), content)

    def stop_while_copying(self, session, *arguments):
        """A run that stands still while it copies (SIGSTOP), with its drive and journal held."""
        p = subprocess.Popen([PREP, "import", "--journal", self.journal, "--session", session, "--quiet", *map(str, arguments)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not (self.folder / "job.jrn.d" / f"{session}-0.done").exists() and p.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        p.send_signal(signal.SIGSTOP)
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.assertIsNone(p.poll())
        return p

    def test_two_at_once(self):
        os.truncate(self.add("large", b""), 64 << 20)
        image, drives = self.first_drive()
        p = self.stop_while_copying("one", *drives, *self.one_folder())
        other = drive(self.folder, "SERIAL02", 64)
        before = self.journal.read_bytes()
        says = "another berth-prep works with this journal"
        self.assertIn(says, self.start("two", "--drive", other, "--format", "--silent", *self.one_folder(), code=3).stderr)
        for end in ("--resume", "--abort"):
            self.assertIn(says, self.start("one", end, code=3).stderr)
        # Another journal, but the same drive.
        done = prep("import", "--journal", self.folder / "other.jrn", "--session", "two", *drives, *self.one_folder())
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("another program holds the image", done.stderr)
        self.assertFalse((self.folder / "other.jrn.d").exists())
        self.assertEqual(self.journal.read_bytes(), before)
        p.send_signal(signal.SIGCONT)
        self.assertEqual(p.wait(120), 0)
        self.check(image)
        self.assertFalse((self.folder / "job.jrn.d").exists())

    def test_key_is_in_locked_memory_only(self):
        """While files are copied the key lies nowhere but in memory that is wiped and not dumped."""
        os.truncate(self.add("large", b""), 64 << 20)
        image, _ = self.first_drive()
        rows = driveset(self.folder, image)
        with open(rows, "a") as f:  # long enough for the buffers to move
            f.write("\n" * 20_000)
        p = self.stop_while_copying("keys", "--driveset", rows, *self.one_folder())
        key = key_file(self.journal, "SERIAL01").read_bytes()
        found, area = [], None
        with open(f"/proc/{p.pid}/smaps") as maps, open(f"/proc/{p.pid}/mem", "rb", 0) as memory:
            for line in maps:
                words = line.split()
                if "-" in words[0] and not words[0].endswith(":"):
                    area = [int(n, 16) for n in words[0].split("-")] if words[1].startswith("rw") else None
                elif words[0] == "VmFlags:" and area and "dd" not in words:
                    memory.seek(area[0])
                    found += [line] * (memory.read(area[1] - area[0]).count(key))
        self.assertEqual(found, [])

    def test_old_and_far_times(self):
        """Times before 1970 and after 2262 stand in the plan and on the drive."""
        for name, seconds in (("old", -86_400 * 365 * 100), ("ancient", -86_400 * 365 * 400), ("far", 86_400 * 365 * 400)):
            path = self.add(name, os.urandom(9_000))
            os.utime(path, (seconds, seconds))
        image, drives = self.first_drive()
        self.stop_early("times", *drives, *self.one_folder())
        self.start("times", "--resume")
        self.check(image)
        self.assertEqual(len(self.manifest(image)[0]), 3)

    def test_resumed_elsewhere(self):
        """Names that were relative where the session began; a record that does not fit the plan is refused."""
        self.add("a", os.urandom(9_000))
        metadata = self.folder / "m.xml"
        metadata.write_text('<?xml version="1.0"?>\n<Metadata><Who>berth</Who></Metadata>\n')
        image, _ = self.first_drive()
        rows = dataset(self.folder, "source/,attic/,,,m.xml,")
        self.stop_early("moved", "--dataset", rows, "--drive", "SERIAL01.img", "--format", "--silent", cwd=self.folder)
        record = self.folder / "job.jrn.d" / "moved-0.done"
        damaged = '{"item":0,"md5":""}\n{"ready":1}\n{"checkpoint":1}\n'
        before = record.read_bytes() if record.exists() else b""
        record.write_text(damaged)
        self.assertIn("the session's own record is damaged", self.start("moved", "--resume", code=3).stderr)
        record.write_bytes(before)
        self.start("moved", "--resume")
        self.check(image)
        self.assertEqual(set(self.manifest(image)[0]), {"attic/a"})

    def test_another_key(self):
        """A drive that got another key since the journal first heard of it."""
        tool = os.path.join(os.environ["BERTH_BUILD"], "tests", "tools", "make-volume")
        image = self.folder / "SERIAL01.img"
        self.add("a", "x")
        for session in ("first", "second"):
            subprocess.run([tool, image, "64", "xts-128", "512", "4096"], check=True, timeout=60)
            arguments = ("--drive", image, "--recovery-key-file", image.with_name("SERIAL01.img.recovery"), *self.one_folder())
            if session == "first":
                self.stop_early(session, *arguments)
                self.start(session, "--abort")
            else:
                self.start(session, *arguments)
                self.check(image)
                subprocess.run([tool, image, "64", "xts-128", "512", "4096"], check=True, timeout=60)
                self.refused("third", *arguments, code=3, says="knows a manifest of drive SERIAL01, and it has none")

    def test_one_image_under_two_names(self):
        self.add("a", os.urandom(9_000))
        image, _ = self.first_drive()
        link = self.folder / "OTHER.img"
        link.symlink_to(image)
        self.refused("twice", "--driveset", driveset(self.folder, image, link), *self.one_folder(), code=3,
                     says="is the same drive")

    def test_secrets_stay(self):
        self.add("a", "x")
        image, drives = self.first_drive()
        done = self.start("quiet", *drives, *self.one_folder(), "--json")
        key = key_file(self.journal, "SERIAL01").read_text()
        self.assertNotIn(key, done.stdout + done.stderr)
        self.assertIn(key, self.journal.read_text())


class Kill(Importing):
    """kill -9"""

    def kill_at(self, session, seconds, *arguments):
        """Starts or resumes, kills it after a while. True when it was over before."""
        p = subprocess.Popen([PREP, "import", "--journal", self.journal, "--session", session, "--quiet", *map(str, arguments)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            errors = p.communicate(timeout=seconds)[1]
            self.assertEqual(p.returncode, 0, errors)
            return True
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            return False

    def is_completed(self, session):
        if not self.journal.exists():
            return False
        done = prep("list", self.journal, "--json")
        sessions = json.loads(done.stdout)["sessions"] if done.returncode in (0, 1) else []
        return {"session": session, "state": "Completed"} in [{k: s[k] for k in ("session", "state")} for s in sessions]

    def test_kill(self):
        dice = random.Random(SEED)
        expected = {}
        for i in range(700):
            size = dice.choice((0, 1, 300, 513, 5_000, 70_000)) + i
            self.add(f"d{i % 23}/f{i}", dice.randbytes(size))
            expected[f"attic/d{i % 23}/f{i}"] = size
        self.add("large", dice.randbytes(30_000_000))
        expected["attic/large"] = 30_000_000
        began = time.monotonic()
        for number in range(KILLS):
            for old in self.folder.glob("job*"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            image, drives = self.first_drive(f"KILL{number:02}", 160)
            whole = time.monotonic() - began if number == 1 else 0.9
            kills, over = 0, False
            while not over:
                if self.is_completed("kill"):  # killed between its last record and its end
                    break
                unfinished = (self.folder / "job.jrn.d").exists() and any((self.folder / "job.jrn.d").glob("kill.plan"))
                arguments = ("--resume",) if unfinished else (*drives, *self.one_folder())
                # The first run is whole: its time is the measure of the others.
                patience = 60 if number == 0 or kills == 3 else dice.uniform(0.01, whole)
                over = self.kill_at("kill", patience, *arguments, *(() if unfinished else ("--checkpoint", "3MB")))
                kills += not over
                if not over:
                    self.assertNotEqual(prep("list", self.journal).returncode, 2) if self.journal.exists() else None
            self.check(image)
            blobs, _ = self.manifest(image)
            self.assertEqual({name: said["length"] for name, said in blobs.items()}, expected, f"seed {SEED}, round {number}")
            image.unlink()


if __name__ == "__main__":
    print(f"seed {SEED}", flush=True)
    missing = [tool for tool in ("ntfscat", "ntfsfix", "ntfsinfo", "mkntfs") if not shutil.which(tool)]
    if missing:
        print("SKIP: cannot run here: programs are missing: " + ", ".join(missing))
        sys.exit(77)
    unittest.main()
