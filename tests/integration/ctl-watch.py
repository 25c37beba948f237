#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""berthctl watch on a terminal of its own (a pty) and on a pipe, over a station that answers from a list."""
import errno
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from station import Station, bay, drive, empty, job, progress  # noqa: E402

BERTHCTL = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berthctl")
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
WAIT = 30


def away(station):
    """The connection that is open ends, and there is no other."""
    os.rename(station.socket, station.socket + "-away")
    station.answers["GET", "/v1/bays"] = (None, None)


def back(station):
    del station.answers["GET", "/v1/bays"]
    os.rename(station.socket + "-away", station.socket)


class Terminal:
    """A pty with berthctl at its other end."""

    def __init__(self, station, *words, size=(24, 120), environment=None):
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = ""
        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LC_ALL")}
        self.process = subprocess.Popen([BERTHCTL, "watch", "--socket", station.socket, *words], stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True, preexec_fn=self.take_terminal,
                                        env=base | {"TERM": "xterm", "LC_ALL": "C.UTF-8"} | (environment or {}))

    @staticmethod
    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys.encode())

    def read(self, seconds):
        """More of what it wrote. False at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError as e:
            if e.errno == errno.EIO:
                return False
            raise
        self.text += data.decode()
        return bool(data)

    def until(self, found):
        """Reads until found(self) is true."""
        end = time.monotonic() + WAIT
        while not found(self):
            if time.monotonic() > end:
                raise AssertionError(f"not seen: {self.text[-3000:]!r}")
            self.read(0.1)

    def frames(self):
        """What is drawn from the top, whole frames only, without colours."""
        parts = self.text.split("\x1b[H")[1:]
        return [re.split(r"\r+\n", re.sub(r"\x1b\[[0-9;]*m|\x1b\[K", "", part.split("\x1b[J")[0])) for part in parts if "\x1b[J" in part]

    def frame(self):
        frames = self.frames()
        return frames[-1] if frames else [""]

    def line(self, begin):
        return next((line for line in self.frame() if line.startswith(begin)), "")

    def modes(self):
        return termios.tcgetattr(self.slave)

    def end(self, seconds=WAIT):
        """Waits for its end and returns its exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"still running: {self.text[-2000:]!r}")
            self.read(0.05)
        while select.select([self.master], [], [], 0.05)[0]:
            if not self.read(0):
                break
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class Screen(unittest.TestCase):
    def setUp(self):
        self.station = Station().__enter__()
        self.addCleanup(self.station.__exit__)

    def watch(self, *words, **more):
        terminal = Terminal(self.station, *words, **more)
        self.addCleanup(terminal.close)
        return terminal

    def assert_restored(self, t):
        self.assertEqual(t.text.count(ENTER), t.text.count(LEAVE))
        self.assertTrue(t.text.rindex(LEAVE) > t.text.rindex(ENTER))
        self.assertTrue(t.text.rindex("\x1b[?25h") > t.text.rindex("\x1b[?25l"), "the cursor is hidden")
        self.assertTrue(t.text.rindex("\x1b[?7h") > t.text.rindex("\x1b[?7l"), "lines do not wrap")
        self.assertEqual(t.modes(), t.before)

    def test_shows_all_there_is(self):
        t = self.watch()
        t.until(lambda t: t.line("A2"))
        self.assertEqual(t.frame()[1].split(), ["BAY", "DRIVE", "JOB", "STATE", "PROGRESS", "DONE", "RATE", "LEFT", "WAITS", "FOR", "WHAT"])
        for words in ("QX7TESTDRV01", "photos", "transferring", "█████████", "45%", "412 MB/s", "36 s", "network", "blobs are"):
            self.assertIn(words, t.line("A1"))
        self.assertIn("2 bays, 1 drives", t.frame()[0])
        self.assertIn("empty", t.line("A2"))
        t.type("q")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)

    def test_draws_no_more_than_it_asks(self):
        t = self.watch()
        t.until(lambda _: sum(r[1] == "/v1/bays" for r in self.station.requests) == 5)
        self.assertLessEqual(len(t.frames()), 5)

    def test_moves(self):
        t = self.watch()
        for percent in (50, 75):
            self.station.bays = [bay("A1", progress=progress(percent)), empty("A2")]
            t.until(lambda t, p=percent: f"{p}%" in t.line("A1"))
        self.station.bays = [bay("A1", activity="safe-to-remove", led="safe", progress=None), empty("A2")]
        t.until(lambda t: "safe-to-remove" in t.line("A1"))
        self.assertIn("\x1b[32mA1", t.text)

    def test_ends_and_restores(self):
        for act, code in ((lambda t: t.type("\x03"), 0), (lambda t: t.type("Q"), 0),
                          (lambda t: t.process.send_signal(signal.SIGINT), 0),
                          (lambda t: t.process.terminate(), -signal.SIGTERM),
                          (lambda t: t.process.send_signal(signal.SIGHUP), -signal.SIGHUP)):
            t = self.watch()
            t.until(lambda t: t.line("A1"))
            self.assertNotEqual(t.modes(), t.before)
            act(t)
            self.assertEqual(t.end(), code)
            self.assert_restored(t)

    def test_is_stopped_and_goes_on(self):
        t = self.watch()
        t.until(lambda t: t.line("A1"))
        t.process.send_signal(signal.SIGTSTP)
        t.until(lambda t: t.text.count(LEAVE) == 1)
        self.assertEqual(os.waitpid(t.process.pid, os.WUNTRACED)[1] & 0xff, 0x7f)
        self.assertEqual(t.modes(), t.before)
        t.process.send_signal(signal.SIGCONT)
        t.until(lambda t: t.text.count(ENTER) == 2 and t.text.rindex("A1") > t.text.rindex(ENTER))
        t.type("q")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)

    def test_resizes(self):
        self.station.bays = [bay(f"B{i}", f"SERIAL-{i}") for i in range(12)]
        t = self.watch("--interval", "3600", size=(24, 120))
        for rows, columns in ((10, 60), (3, 20), (1, 1), (2, 5), (40, 200), (24, 80)):
            n = len(t.frames())
            t.resize(rows, columns)
            t.until(lambda t, n=n: len(t.frames()) > n)
            t.until(lambda t, c=columns: all(len(line) <= c for line in t.frame()))
            self.assertLessEqual(len(t.frame()), rows)
        self.assertEqual(sum(1 for r in self.station.requests if r[1] == "/v1/bays"), 2, "drawn without asking again")
        self.assertIn("B11", "".join(t.frame()))
        self.assertNotIn("WHAT", t.frame()[1])

    def test_scrolls(self):
        self.station.bays = [bay(f"B{i:02}", "X") for i in range(30)]
        t = self.watch(size=(10, 120))
        t.until(lambda t: t.line("B00") and "bays 1 to 7 of 30" in t.frame()[-1])
        t.type("\x1b[B")
        t.until(lambda t: not t.line("B00") and t.line("B07"))
        t.type("\x1b[6~")
        t.until(lambda t: t.frame()[2].startswith("B08"))
        t.type(" " * 1)
        for _ in range(6):
            t.type(" ")
            t.read(0.2)
        t.until(lambda t: t.frame()[-2].startswith("B29"))
        t.type("k")
        t.until(lambda t: t.frame()[-2].startswith("B28"))
        t.type("\x1b[5~")
        t.until(lambda t: t.frame()[-2].startswith("B21"))

    def test_colours_only_where_they_are_wanted(self):
        self.station.bays = [bay("A1", led="fault", activity="failed"), bay("A2", led="safe"), bay("A3", locate=True)]
        for environment, coloured in (({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            t = self.watch(environment=environment)
            t.until(lambda t: t.line("A3"))
            found = {c for c in ("\x1b[31mA1", "\x1b[32mA2", "\x1b[33mA3") if c in t.text}
            self.assertEqual(len(found), 3 if coloured else 0, environment)
            self.assertEqual(bool(re.search(r"\x1b\[[1-9][0-9]*m", t.text)), coloured)

    def test_bar_of_a_plain_terminal(self):
        t = self.watch(environment={"LC_ALL": "C"})
        t.until(lambda t: "#########......" in t.line("A1"))

    def test_hostile_names(self):
        bad = "\x1b]0;owned\x07\x9b31m\u202e\r\n\x1b[2J"
        self.station.bays = [bay(bad, bad, job=bad, activity=bad, sentence=bad, progress=progress(wait=bad)), bay("A2")]
        t = self.watch(size=(24, 200))
        t.until(lambda t: t.line("A2"))
        text = "".join("".join(frame) for frame in t.frames())
        self.assertIn("\\x1b]0;owned", text)
        self.assertFalse([c for c in text if ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c == "\u202e"])

    def test_daemon_goes_away_and_comes_back(self):
        t = self.watch()
        t.until(lambda t: t.line("A1"))
        away(self.station)
        t.until(lambda t: "daemon does not run" in t.frame()[-1])
        self.assertTrue(t.line("A1"), "the last that is known stays")
        back(self.station)
        t.until(lambda t: "daemon does not run" not in t.frame()[-1])
        t.type("q")
        self.assertEqual(t.end(), 0)

    def test_daemon_hangs(self):
        t = self.watch()
        t.until(lambda t: t.line("A1"))
        self.station.answers["GET", "/v1/bays"] = lambda _: time.sleep(5) or (200, {"bays": []})
        t.until(lambda t: "did not answer" in t.frame()[-1])
        t.type("q")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)

    def test_right_is_taken_away(self):
        t = self.watch()
        t.until(lambda t: t.line("A1"))
        self.station.answers["GET", "/v1/bays"] = (403, {"error": {"message": "no longer"}})
        self.assertEqual(t.end(), 4)
        self.assertIn("no longer", t.text)
        self.assert_restored(t)

    def test_until_done(self):
        for status, code, words in (("Completed", 0, "are copied"), ("CompletedWithErrors", 1, "not all")):
            self.station.jobs = [job()]
            t = self.watch("--until-done", "photos")
            t.until(lambda t: "until the drives of photos" in t.frame()[-1])
            self.station.jobs = [job(drives=[drive(state="Completed", copy_status=status), drive("Y2", state="Specified")])]
            t.read(1.5)
            self.assertIsNone(t.process.poll())
            self.station.jobs = [job(drives=[drive(state="Completed", copy_status=status)])]
            self.assertEqual(t.end(), code)
            self.assertIn(words, t.text[t.text.rindex(LEAVE):])

    def test_mistakes_do_not_take_the_screen(self):
        for words, code in ((["--until-done", "none"], 1), (["--interval", "0"], 2), (["x"], 2), (["--socket", "/none"], 3)):
            t = self.watch(*words)
            self.assertEqual(t.end(), code)
            self.assertNotIn(ENTER, t.text)


class Lines(unittest.TestCase):
    def setUp(self):
        self.station = Station().__enter__()
        self.addCleanup(self.station.__exit__)

    def watch(self, *words):
        process = subprocess.Popen([BERTHCTL, "watch", "--socket", self.station.socket, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (process.kill(), process.wait(), process.stdout.close(), process.stderr.close()))
        return process

    def test_a_line_for_each_change(self):
        w = self.watch("--until-done", "photos")
        self.assertRegex(w.stdout.readline(), r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  A1  QX7TESTDRV01  photos  transferring  45%  "
                                              r"412 MB/s  36 s left: blobs are being copied\n$")
        self.assertRegex(w.stdout.readline(), r"  A2  -  -  empty\n$")
        self.station.bays = [bay("A1", progress=progress(46)), empty("A2")]  # too little for a line
        time.sleep(1.5)
        self.station.bays = [bay("A1", progress=progress(46)), bay("A2", "Y\x1b2", job="film")]
        self.assertRegex(w.stdout.readline(), r"  A2  Y\\x1b2  film  transferring  45%")
        self.station.bays = [bay("A1", progress=progress(51)), bay("A2", "Y\x1b2", job="film")]
        self.assertRegex(w.stdout.readline(), r"  A1  .*  51%")
        self.station.jobs = [job(drives=[drive(state="CompletedMoreInfo", copy_status="DriveNotDetected")])]
        self.assertEqual(w.stdout.read(), "All drives of photos are done, but not all are copied well.\n")
        self.assertEqual(w.wait(WAIT), 1)

    def test_json(self):
        w = self.watch("--json")
        self.assertEqual(json.loads(w.stdout.readline()), {"bays": self.station.bays})
        self.station.bays = [empty("A1"), empty("A2")]
        self.assertEqual(json.loads(w.stdout.readline()), {"bays": self.station.bays})
        w.send_signal(signal.SIGINT)
        self.assertEqual(w.wait(WAIT), -signal.SIGINT)

    def test_daemon_away(self):
        w = self.watch()
        w.stdout.readline()
        w.stdout.readline()
        away(self.station)
        self.assertIn("daemon does not run", w.stderr.readline())
        back(self.station)
        self.station.bays = [empty("A1"), empty("A2")]
        self.assertIn("A1  -  -  empty", w.stdout.readline())

    def test_reader_goes_away(self):
        w = self.watch()
        w.stdout.readline()
        w.stdout.close()
        for i in range(20):
            self.station.bays = [bay("A1", f"X{i}")]
            try:
                self.assertEqual(w.wait(1), -signal.SIGPIPE)
                return
            except subprocess.TimeoutExpired:
                pass
        self.fail("it goes on without a reader")


if __name__ == "__main__":
    unittest.main()
