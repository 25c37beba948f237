#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb of berthctl against a station that answers from a list: what is asked, what is shown, how it ends."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from station import Station, bay, drive, empty, error, job  # noqa: E402

BERTHCTL = os.path.join(os.environ["BERTH_BUILD"], "ctl", "berthctl")
KEY = "122221-244442-366663-488884-611105-013574-660000-720885"


class Verbs(unittest.TestCase):
    def setUp(self):
        self.station = Station().__enter__()
        self.addCleanup(self.station.__exit__)

    def run_ctl(self, *words, code=0, environment=None, **more):
        done = subprocess.run([BERTHCTL, *map(str, words)], capture_output=True, text=True, timeout=60,
                              env=os.environ | {"BERTH_SOCKET": self.station.socket} | (environment or {}), **more)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done

    def asked(self):
        """The last request."""
        return self.station.requests[-1]

    def answer(self, method, path, answer, status=200):
        self.station.answers[method, path] = (status, answer)

    # ---- looking ----

    def test_list(self):
        lines = self.run_ctl("list").stdout.splitlines()
        self.assertEqual(lines[0].split(), ["BAY", "DRIVE", "JOB", "STATE", "DONE", "RATE", "LEFT", "WHAT"])
        self.assertEqual(lines[1].split(None, 9)[:9],
                         ["A1", "QX7TESTDRV01", "photos", "transferring", "45%", "412", "MB/s", "36", "s"])
        self.assertIn("blobs are being copied", lines[1])
        self.assertEqual(lines[2].split(), ["A2", "-", "-", "empty", "-", "-", "-", "-"])
        self.assertEqual(self.asked()[:3], ("GET", "/v1/bays", {}))
        self.assertEqual(self.run_ctl().stdout.splitlines(), lines)

    def test_list_is_aligned_whatever_the_names(self):
        self.station.bays = [bay("A1", "短い"), bay("A2", "e\u0301e\u0301"), bay("A3", "plain")]
        lines = self.run_ctl("list").stdout.splitlines()
        wide = {"短": 2, "い": 2, "\u0301": 0}
        columns = {sum(wide.get(c, 1) for c in line[:line.index("photos")]) for line in lines[1:]}
        self.assertEqual(len(columns), 1)

    def test_no_bays(self):
        self.station.bays = []
        self.assertIn("--learn", self.run_ctl("list").stdout)

    def test_json_is_the_answer_unchanged(self):
        self.assertEqual(json.loads(self.run_ctl("list", "--json").stdout), {"bays": self.station.bays})
        self.assertEqual(json.loads(self.run_ctl("show", "A1", "--json").stdout), self.station.bays[0])
        self.assertEqual(json.loads(self.run_ctl("jobs", "--json").stdout), {"jobs": self.station.jobs})
        self.assertEqual(json.loads(self.run_ctl("job", "show", "photos", "--json").stdout), self.station.jobs[0])
        answer = {"odd": [1.5, None, {"ä": "ü"}], "a": 1}
        self.answer("GET", "/v1/bays", answer)
        self.assertEqual(json.loads(self.run_ctl("list", "--json").stdout), answer)

    def test_show_bay(self):
        shown = self.run_ctl("show", "A1").stdout
        for words in ("id-path:pci-0000:00:1f.2-ata-2.0", "transferring: blobs are being copied", "QX7TESTDRV01", "4.0 TB",
                      "good: nothing points to a failure", "31 degrees", "412 MB/s", "36 s", "network", "photos",
                      "4K sectors are emulated", "2031-04-09 07:15:02Z", "12.1 GB of 27.1 GB", "450 of 1000"):
            self.assertIn(words, shown)

    def test_show_drive(self):
        self.station.drives = [drive("X Y/Z")]
        shown = self.run_ctl("show", "X Y/Z").stdout
        for words in ("X Y/Z", "Transferring", "InProgress", "\\DriveManifest.xml", "45%"):
            self.assertIn(words, shown)
        self.assertEqual([r[1] for r in self.station.requests], ["/v1/bays/X Y/Z", "/v1/drives/X Y/Z"])

    def test_show_drive_of_a_job(self):
        self.station.drives = [drive("A1")]
        self.assertIn("InProgress", self.run_ctl("show", "A1", "--job", "photos").stdout)
        self.assertEqual(self.asked()[1:3], ("/v1/drives/A1", {"job": "photos"}))

    def test_show_nothing(self):
        done = self.run_ctl("show", "A9", code=1)
        self.assertIn("there is no such serial", done.stderr)
        self.assertIn("A9", done.stderr)

    def test_jobs(self):
        self.station.jobs = [job(), job("film", cancel_requested=True), job("x1", alerts=["package-missing"])]
        lines = self.run_ctl("jobs").stdout.splitlines()
        self.assertEqual(lines[1].split(), ["photos", "Transferring", "45%", "1", "acme", "2031-04-08", "10:00:00Z", "-"])
        self.assertTrue(lines[2].endswith("cancelled") and lines[3].endswith("package-missing"))

    def test_jobs_page_after_page(self):
        def page(query):
            start = int(query.get("before", 4))
            return 200, {"jobs": [job(f"j{start}")], **({"next": start - 1} if start > 1 else {})}
        self.station.answers["GET", "/v1/jobs"] = page
        lines = self.run_ctl("jobs", "--state", "Packaging").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["JOB", "j4", "j3", "j2", "j1"])
        self.assertEqual(self.asked()[2], {"before": "1", "state": "Packaging"})
        self.assertEqual(json.loads(self.run_ctl("jobs", "--json").stdout)["next"], 3)

    def test_jobs_that_would_never_end(self):
        self.answer("GET", "/v1/jobs", {"jobs": [job()], "next": 5})
        self.assertEqual(len(self.run_ctl("jobs").stdout.splitlines()), 3)

    def test_job_show(self):
        shown = self.run_ctl("job", "show", "photos").stdout
        for words in ("West US", "photos", "Transferring", "QX7TESTDRV01", "InProgress", "acme"):
            self.assertIn(words, shown)

    # ---- making a job ----

    def journal(self, name="a.jrn", text=None):
        return self.station.path(name, (text or f'<BitLockerKey>{KEY}</BitLockerKey> "\\ä\t\r\n').encode())

    def test_job_import(self):
        self.answer("POST", "/v1/jobs", {"sentence": "the job was made", **job()}, 201)
        done = self.run_ctl("job", "import", self.journal(), self.journal("b.jrn", "other"), "--account", "acme",
                            "--name", "photos")
        self.assertEqual(done.stdout, "the job was made\n")
        method, path, _, body = self.asked()
        self.assertEqual((method, path, body["name"], body["account"]), ("POST", "/v1/jobs", "photos", "acme"))
        self.assertEqual(body["journals"], [
            {"name": "a.jrn", "text": f'<BitLockerKey>{KEY}</BitLockerKey> "\\ä\t\r\n'}, {"name": "b.jrn", "text": "other"}])

    def test_job_import_large(self):
        self.answer("POST", "/v1/jobs", {"sentence": "made"})
        text = "".join(f"{i}: \"quoted\"\n" for i in range(300000))
        self.run_ctl("job", "import", self.journal(text=text), "--account", "acme", "--name", "photos")
        self.assertEqual(self.asked()[3]["journals"][0]["text"], text)

    def test_job_import_mistakes(self):
        self.assertIn("needed", self.run_ctl("job", "import", self.journal(), code=2).stderr)
        flags = ("--account", "acme", "--name", "photos")
        self.assertIn("something is missing", self.run_ctl("job", "import", *flags, code=2).stderr)
        self.assertIn("cannot be read", self.run_ctl("job", "import", "/none.jrn", *flags, code=3).stderr)
        self.station.path("bad.jrn", b"\xff\xfeB\0")
        self.assertIn("not UTF-8", self.run_ctl("job", "import", self.station.path("bad.jrn"), *flags, code=2).stderr)
        self.assertEqual(self.station.requests, [])

    def test_dry_run_asks_for_nothing(self):
        flags = ("--account", "acme", "--name", "photos", "--dry-run")
        self.assertIn("POST /v1/jobs", self.run_ctl("job", "import", self.journal(), *flags).stdout)
        self.assertEqual(json.loads(self.run_ctl("job", "import", self.journal(), *flags, "--json").stdout)["path"], "/v1/jobs")
        self.assertEqual(self.station.requests, [])

    # ---- when it does not work ----

    def test_statuses(self):
        for status, code in ((400, 2), (403, 4), (404, 1), (409, 1), (413, 2), (429, 1), (500, 3), (503, 3), (507, 3)):
            self.answer("GET", "/v1/bays", error("conflict", f"message {status}", "advice"), status)
            done = self.run_ctl("list", code=code)
            self.assertIn(f"message {status}. advice.", done.stderr)
            self.assertEqual(done.stdout, "")
            done = self.run_ctl("list", "--json", code=code)
            self.assertEqual(json.loads(done.stdout), error("conflict", f"message {status}", "advice"))

    def test_answers_that_are_none(self):
        for status, text in ((200, b"hello"), (200, b"[]"), (200, b""), (200, b'{"bays":'), (302, b"{}"), (500, b"<html>"),
                             (200, b'{"a":1,"a":2}'), (200, b'{"a":"' + b"x" * (17 << 20) + b'"}'), (None, None)):
            self.station.answers["GET", "/v1/bays"] = (status, text)
            done = self.run_ctl("list", code=3)
            self.assertTrue(done.stderr.startswith("berthctl list: ") and done.stderr.endswith(".\n"), done.stderr)
            self.assertIn("error", json.loads(self.run_ctl("list", "--json", code=3).stdout))

    def test_odd_members(self):
        self.station.bays = [{}, {"bay": 7, "drive": [], "progress": "x", "percent": -1, "sentence": None}, bay(drive=None)]
        self.assertEqual(len(self.run_ctl("list").stdout.splitlines()), 4)
        for answer in ({"bays": {}}, {"bays": 5}, {}):
            self.answer("GET", "/v1/bays", answer)
            self.run_ctl("list")
        self.answer("GET", "/v1/bays/A1", {"progress": [], "drive": 5, "match": 1, "places": {}})
        self.run_ctl("show", "A1")

    def test_daemon_away(self):
        done = self.run_ctl("list", "--socket", "/nonexistent/s", code=3)
        self.assertIn("daemon does not run", done.stderr)
        self.assertIn("systemctl start berthd", done.stderr)
        self.assertEqual(json.loads(self.run_ctl("list", "--json", "--socket", "/nonexistent/s", code=3).stdout)
                         ["error"]["reason"], "no-station")
        self.station.path("dead", b"")
        self.run_ctl("list", "--socket", self.station.path("dead"), code=3)
        self.run_ctl("list", "--socket", "/" + "x" * 200, code=2)

    def test_right_is_missing(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to become somebody else")
        os.chmod(self.station.folder.name, 0o755)
        os.chmod(self.station.socket, 0o600)
        done = self.run_ctl("list", code=4, user=65534, group=65534, extra_groups=[])
        self.assertIn("may not speak", done.stderr)

    def test_proxies_play_no_part(self):
        self.run_ctl("list", environment={"http_proxy": "http://127.0.0.1:1/", "ALL_PROXY": "http://127.0.0.1:1/"})

    def test_hostile_text_on_the_screen(self):
        bad = "\x1b]0;owned\x07\x9b31m\u202egpj.exe\r\n"
        self.station.bays = [bay(bad, bad, job=bad, sentence=bad, activity=bad)]
        self.station.jobs = [job(bad, state=bad, account=bad, created_at=bad, alerts=[bad], drives=[drive(bad, state=bad)])]
        self.answer("GET", "/v1/bays/A1", self.station.bays[0] | {"places": [bad], "match": {"kind": bad, "sentence": bad}})
        self.answer("GET", "/v1/jobs/photos", self.station.jobs[0])
        self.answer("GET", "/v1/bays/bad", error(bad, bad, bad, object=bad), 409)
        for words, code in ((["list"], 0), (["show", "A1"], 0), (["jobs"], 0), (["job", "show", "photos"], 0), (["show", "bad"], 1)):
            done = self.run_ctl(*words, code=code)
            text = (done.stdout + done.stderr).replace("\n", "")
            self.assertIn("\\x1b", text)
            self.assertFalse([c for c in text if ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c == "\u202e"], words)

    def test_usage(self):
        for words in (["nonsense"], ["job"], ["job", "nonsense"], ["show"], ["show", "a", "b"], ["list", "x"],
                      ["list", "--odd"], ["show", ""], ["list", "--socket"]):
            self.run_ctl(*words, code=2)
        self.assertIn("import, show", self.run_ctl("job", code=2).stderr)
        for words in (["--help"], ["list", "--help"], ["job", "import", "--help"], ["--version"]):
            self.run_ctl(*words)

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BERTHCTL, "list", "--socket", self.station.socket], stdout=full)
        self.assertEqual(done.returncode, 3)


if __name__ == "__main__":
    unittest.main()
