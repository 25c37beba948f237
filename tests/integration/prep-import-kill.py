#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berth-prep import, ended before each of its calls that change a file: nothing is lost, whatever the moment.

prep-import.py kills by the clock; here a preloaded library counts the calls (tests/lib/preload-kill.c), so that a kill
between two of them is certain to be met. A run takes POINTS of them, evenly spread from a random start (BERTH_SEED repeats
it); BERTH_KILL_ALL=1 takes every one, which takes very long.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from importing import drive, key_file, manifest_blobs, plain_volume, prep

os.environ["PATH"] += ":/usr/sbin:/sbin"
PRELOAD = sys.argv.pop(1)
POINTS = 9
SEED = int(os.environ.get("BERTH_SEED", random.randrange(1 << 30)))


class Kill(unittest.TestCase):
    def setUp(self):
        self.dice = random.Random(SEED)
        self.temporary = tempfile.TemporaryDirectory(prefix="berth-kill-")
        self.base = pathlib.Path(self.temporary.name)
        self.folder = self.base / "work"
        for name in ("first", "second"):
            for i, size in enumerate((0, 1, 300, 513, 5_000, 70_000, 150_000, 1_500_000)):
                path = self.base / name / f"d{i % 3}" / f"f{i}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.dice.randbytes(size))
        self.expected = {name: {f"attic/{name}/{p.relative_to(self.base / name)}" for p in (self.base / name).rglob("f*")}
                         for name in ("first", "second")}

    def tearDown(self):
        self.temporary.cleanup()

    def start(self, session, *arguments, kill_at=None, count=None):
        more = {"KILL_AT": str(kill_at)} if kill_at else {"KILL_COUNT": str(count)} if count else None
        environment = {**os.environ, "LD_PRELOAD": PRELOAD, **more} if more else None
        return prep("import", "--journal", self.folder / "job.jrn", "--session", session, "--quiet", *arguments, env=environment)

    def new(self, session):
        """The arguments of a new session: the first one formats the drive."""
        drives = ("--drive", self.folder / "KILL.img", "--format", "--silent") if session == "first" else ()
        return (*drives, "--source-dir", self.base / session, "--destination-dir", f"attic/{session}/",
                "--checkpoint", "200000", "--content-md5")

    def ok(self, done, code=0):
        self.assertEqual(done.returncode, code, f"seed {SEED}: " + done.stdout + done.stderr)
        return done

    def finish(self, session):
        """As somebody would who found the machine rebooted."""
        planned = (self.folder / "job.jrn.d" / f"{session}.plan").exists()
        done = self.start(session, "--resume") if planned else self.start(session, *self.new(session))
        if not planned and "was finished" in done.stderr:
            return
        self.ok(done)

    def check(self, point, *sessions):
        image = self.folder / "KILL.img"
        done = prep("validate", "--journal", self.folder / "job.jrn", image)
        self.assertEqual(done.returncode, 0, f"seed {SEED}, {point}: " + done.stdout + done.stderr)
        volume = plain_volume(image, key_file(self.folder / "job.jrn", "KILL"), self.folder / "plain")
        done = subprocess.run(["ntfsfix", "-n", volume], capture_output=True, text=True, timeout=60)
        self.assertIn("processed successfully", done.stdout, f"seed {SEED}, {point}")
        text = subprocess.run(["ntfscat", "-f", volume, "DriveManifest.xml"], capture_output=True, check=True, timeout=60).stdout
        self.assertEqual(set(manifest_blobs(text)), set().union(*(self.expected[s] for s in sessions)), f"seed {SEED}, {point}")
        top = subprocess.run(["ntfsls", "-f", volume], capture_output=True, text=True, check=True, timeout=60).stdout
        self.assertEqual({line for line in top.split() if line[:5] in ("first", "secon")},
                         {name for s in sessions for name in (s, f"{s}.sidecars")}, f"seed {SEED}, {point}")
        self.assertEqual([p.name for p in self.folder.glob("job.jrn.*")], [], f"seed {SEED}, {point}")

    def fresh(self, saved=None):
        shutil.rmtree(self.folder, ignore_errors=True)
        if saved:
            subprocess.run(["cp", "-a", "--sparse=always", saved, self.folder], check=True, timeout=60)
        else:
            self.folder.mkdir()
            drive(self.folder, "KILL", 80)

    def save(self, name):
        subprocess.run(["cp", "-a", "--sparse=always", self.folder, self.base / name], check=True, timeout=60)
        return self.base / name

    def points(self, *run):
        """Runs it whole to count its calls; gives those at which it is to be killed."""
        count = self.base / "count"
        self.ok(self.start(*run, count=count))
        n = int(count.read_text())
        self.assertGreater(n, POINTS)
        if os.environ.get("BERTH_KILL_ALL"):
            return range(1, n + 1)
        first = self.dice.uniform(0, n / POINTS)
        # The last calls are the ones that say that all is done.
        return sorted({int(first + i * n / POINTS) + 1 for i in range(POINTS - 4)} | set(range(n - 3, n + 1)))

    def kill(self, point, *run):
        done = self.start(*run, kill_at=point)
        self.assertEqual(done.returncode, -signal.SIGKILL, done.stdout + done.stderr)

    def test_first_session(self):
        self.fresh()
        for point in self.points("first", *self.new("first")):
            self.fresh()
            self.kill(point, "first", *self.new("first"))
            self.finish("first")
            self.check(point, "first")

    def first_done(self):
        self.fresh()
        self.ok(self.start("first", *self.new("first")))
        self.check("prepared", "first")
        return self.save("first-done")

    def test_second_session_and_its_resume(self):
        saved = self.first_done()
        points = self.points("second", *self.new("second"))
        for point in points:
            self.fresh(saved)
            self.kill(point, "second", *self.new("second"))
            # Killed again soon: what a resume repairs must be repairable once more.
            if (self.folder / "job.jrn.d" / "second.plan").exists():
                self.start("second", "--resume", kill_at=self.dice.randrange(1, 40))
            self.finish("second")
            self.check(point, "first", "second")

    def test_abort(self):
        saved = self.first_done()
        points = self.points("second", *self.new("second"))
        for half in (points[1], points[4]):  # of those that are spread, not the last ones
            self.fresh(saved)
            self.kill(half, "second", *self.new("second"))
            broken = self.save(f"broken-{half}")
            for point in self.points("second", "--abort"):
                self.fresh(broken)
                self.kill(point, "second", "--abort")
                done = self.start("second", "--resume")
                if done.returncode == 0:  # the journal had not heard of the abort
                    self.check((half, point), "first", "second")
                    continue
                self.ok(done, 2)
                self.ok(self.start("second", "--abort"))
                self.check((half, point), "first")
            self.ok(self.start("second", *self.new("second")))
            self.check((half, "again"), "first", "second")


if __name__ == "__main__":
    print(f"seed {SEED}", flush=True)
    missing = [tool for tool in ("ntfscat", "ntfsfix", "ntfsls") if not shutil.which(tool)]
    if os.environ.get("BERTH_SANITIZE", "none") != "none":
        missing.append("a build without sanitizers, which must be loaded first")
    if missing:
        print("SKIP: cannot run here: missing: " + ", ".join(missing))
        sys.exit(77)
    unittest.main()
