#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berthctl bays: a drive is docked, its place is named, and the configuration gets a section that berthd takes."""
import json
import os
import pathlib
import pty
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from station import Station, bay, error  # noqa: E402

BUILD = os.environ["BERTH_BUILD"]
BERTHCTL = os.path.join(BUILD, "ctl", "berthctl")
BERTHD = os.path.join(BUILD, "daemon", "berthd")


def place(sequence, *places, **more):
    return {"places": list(places), "state": "outside", "node": "/dev/sdb", "sequence": sequence,
            "drive": {"serial": f"S{sequence}", "model": "Disk\x1b"}} | more


class Learn(unittest.TestCase):
    def setUp(self):
        self.station = Station().__enter__()
        self.addCleanup(self.station.__exit__)
        self.there = [place(1, "id-path:pci-0000:00:1f.2-ata-1")]
        self.station.answers["GET", "/v1/places"] = lambda _: (200, {"places": self.there})
        self.station.answers["POST", "/v1/reload"] = (200, {"sentence": "read"})
        self.file = self.station.path("bays.conf")

    def learn(self, *words, stdin=subprocess.DEVNULL, **more):
        process = subprocess.Popen([BERTHCTL, "bays", "--learn", "--socket", self.station.socket, *map(str, words)], text=True,
                                   stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close(), process.stderr.close()))
        return process

    def dock(self, *places, **more):
        """After the program has seen what was there before."""
        count = len(self.station.requests)
        while len(self.station.requests) < count + 2:
            time.sleep(0.05)
        self.there = self.there + [place(len(self.there) + 1, *places, **more)]

    def end(self, process, code=0):
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, code, out + err)
        return out, err

    def check(self, text):
        """What berthd says of it."""
        worker = os.path.join(BUILD, "uploader", "berth-worker")
        path = self.station.path("check.conf", f"[station]\nworker = {worker}\n{text}".encode())
        done = subprocess.run([BERTHD, "--check", "--config", path], capture_output=True, text=True)
        return done.returncode, done.stderr

    def test_list(self):
        self.station.bays = [bay("A1", lamps=True, places=["usb:2-1", "id-path:x"]), bay("A2", lamps=False)]
        done = subprocess.run([BERTHCTL, "bays", "--socket", self.station.socket], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.splitlines()[1].split(), ["A1", "docked", "yes", "usb:2-1", "id-path:x"])

    def test_prints_the_section(self):
        for where, line in (("id-path:pci-0000:00:1f.2-ata-2", "id_path = pci-0000:00:1f.2-ata-2"), ("usb:2-1.3", "usb = 2-1.3"),
                            ("enclosure:500056b31234abcd/4", "enclosure = 500056b31234abcd/4")):
            process = self.learn("--name", "B7")
            self.dock(where, "id-path:other")
            out, err = self.end(process)
            self.assertEqual(out, f"[bay B7]\n{line}\n\n")
            self.assertIn("Disk\\x1b", err)
            self.assertEqual(self.check(out)[0], 0, self.check(out))
        self.assertNotIn("POST", [r[0] for r in self.station.requests])

    def test_json(self):
        process = self.learn("--name", "B7", "--json")
        self.dock("usb:2-1.3")
        self.assertEqual(json.loads(self.end(process)[0]),
                         {"bays": [{"bay": "B7", "place": "usb:2-1.3", "section": "[bay B7]\nusb = 2-1.3\n"}]})

    def test_writes_it(self):
        self.file.write_text("[bay A1]\nusb = 1-1")
        process = self.learn("--name", "B7", "--write", "--file", self.file)
        self.dock("usb:2-1.3")
        self.assertIn("the station knows it", self.end(process)[0])
        self.assertEqual(self.file.read_text(), "[bay A1]\nusb = 1-1\n\n[bay B7]\nusb = 2-1.3\n")
        self.assertEqual(self.check(self.file.read_text())[0], 0)
        self.assertEqual(self.station.requests[-1][:2], ("POST", "/v1/reload"))

    def test_writes_nothing(self):
        for words, code in ((["--dry-run", "--file", self.file], 0), (["--file", "/nonexistent/x"], 3)):
            process = self.learn("--name", "B7", "--write", *words)
            self.dock("usb:2-1.3")
            self.end(process, code)
        self.assertFalse(self.file.exists())
        self.assertNotIn("POST", [r[0] for r in self.station.requests])

    def test_station_does_not_take_it(self):
        self.station.answers["POST", "/v1/reload"] = (409, error("refused", "drives are in work"))
        process = self.learn("--name", "B7", "--write", "--file", self.file)
        self.dock("usb:2-1.3")
        err = self.end(process, 1)[1]
        self.assertIn("did not take it over", err)
        self.assertIn("drives are in work", err)

    def test_what_is_a_bay_already(self):
        process = self.learn("--name", "B7")
        self.dock("usb:1-1", bay="A1", state="ready")
        self.dock("usb:2-1.3")
        out, err = self.end(process)
        self.assertIn("That is bay A1 already.", err)
        self.assertIn("usb = 2-1.3", out)

    def test_waits_until_the_place_is_known(self):
        process = self.learn("--name", "B7")
        self.dock()
        self.there[-1] = place(2, "usb:2-1.3")
        self.assertIn("usb = 2-1.3", self.end(process)[0])

    def test_names_that_are_not_allowed(self):
        for name, code in (("A1", 1), ("B 7", 2), ("B]\n[x", 2), ("x" * 64, 2)):
            process = self.learn("--name", name)
            self.dock("usb:2-1.3")
            self.assertEqual(self.end(process, code)[0], "")

    def test_usage(self):
        for words in ([BERTHCTL, "bays", "--name", "x"], [BERTHCTL, "bays", "--write"], [BERTHCTL, "bays", "--learn"]):
            self.assertEqual(subprocess.run([*words, "--socket", self.station.socket], stdin=subprocess.DEVNULL).returncode, 2)

    def test_asks_for_names(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = self.learn(stdin=slave)
        os.close(slave)
        for name, where in (("B1", "usb:2-1"), ("B 2", "usb:2-2"), ("B3", "usb:2-3"), ("", "usb:2-4")):
            self.dock(where)
            os.write(master, name.encode() + b"\n")
        out, err = self.end(process)
        self.assertEqual(out, "[bay B1]\nusb = 2-1\n\n[bay B3]\nusb = 2-3\n\n")
        self.assertIn("B 2", err)


if __name__ == "__main__":
    unittest.main()
