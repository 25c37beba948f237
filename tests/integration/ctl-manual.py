#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual page and the shell completions of berthctl, which also know the names of bays, drives and jobs."""
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from manual import SOURCE, Checks  # noqa: E402
from station import Station, bay, drive, job  # noqa: E402


class Manual(Checks, unittest.TestCase):
    program = "berthctl"
    fewest_verbs = 28

    def test_bash_families(self):
        self.assertEqual(self.complete("job", ""), {name.split()[1] for name in self.verbs if name.startswith("job ")})
        self.assertEqual(self.complete("job", "re"), {"receive", "return"})
        self.assertEqual(self.complete("j"), {"job", "jobs"})
        self.assertIn("README.md", self.complete("job", "import", "", folder=SOURCE))
        self.assertIn("README.md", self.complete("receipt", "--output", "", folder=SOURCE))
        self.assertEqual(self.complete("job", "import", "--name", "", folder=SOURCE), set())

    def test_bash_names(self):
        hostile = "$(touch owned) `touch owned` X"
        with Station() as station:
            station.bays, station.jobs = [bay("A1"), bay("B2")], [job("photos"), job("film")]
            station.drives = [drive("QX7"), drive(hostile), drive("A b")]

            def complete(*words):
                return self.complete(*words, environment={"BERTH_SOCKET": station.socket}, folder=station.folder.name)
            self.assertEqual(complete("show", ""), {"A1", "B2", "QX7", hostile, "A b"})
            self.assertEqual(complete("eject", "A"), {"A1", "A b"})
            self.assertEqual(complete("locate", ""), {"A1", "B2"})
            self.assertEqual(complete("retry", "Q"), {"QX7"})
            self.assertEqual(complete("history", "p"), {"photos"})
            self.assertEqual(complete("job", "show", ""), {"photos", "film"})
            self.assertEqual(complete("job", "receive", "photos", "Q"), {"QX7"})
            self.assertEqual(complete("watch", "--until-done", ""), {"photos", "film"})
            self.assertEqual(complete("retry", "--job", "f"), {"film"})
            self.assertEqual(complete("retry", "\\$"), set())
            self.assertFalse(station.path("owned").exists(), "a name was run")

    def test_bash_without_a_station(self):
        self.assertEqual(self.complete("show", "", environment={"BERTH_SOCKET": "/nonexistent"}), set())

    def test_names(self):
        with Station() as station:
            def names(*words):
                return subprocess.run([self.path, "names", *words, "--socket", station.socket], capture_output=True, text=True)
            station.drives = [drive("a\nb"), drive("")]
            self.assertEqual(names("bays", "drives", "jobs").stdout, "A1\nA2\na\\x0ab\nphotos\n")
            self.assertEqual(names("things").returncode, 2)


if __name__ == "__main__":
    unittest.main()
