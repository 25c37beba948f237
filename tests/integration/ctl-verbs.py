#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb of berthctl against a station that answers from a list: what is asked, what is shown, how it ends."""
import json
import os
import pathlib
import subprocess
import sys
import threading
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

    def test_show_drive_that_is_in_no_job(self):
        self.station.bays = [empty("A1"), bay("A2", "STRAY 1", job=None, match={"kind": "none", "sentence": "set it aside"})]
        shown = self.run_ctl("show", "stray1").stdout
        self.assertIn("set it aside", shown)
        self.assertEqual(json.loads(self.run_ctl("show", "STRAY1", "--json").stdout), self.station.bays[1])
        self.run_ctl("show", "STRAY1", "--job", "photos", code=1)

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

    def test_job_import_wishes(self):
        self.answer("POST", "/v1/jobs", {"sentence": "made", "notes": [
            {"journal": "a.jrn", "line": 7, "sentence": "odd \x1b", "advice": "look at it"}]})
        done = self.run_ctl("job", "import", self.journal(), "--account", "acme", "--shipped", "--verbose-log", "--backup-manifest",
                            "--accept-unshipped", "no", "--location", "West US")
        self.assertIn("warning: a.jrn:7: odd \\x1b; look at it", done.stderr)
        body = self.asked()[3]
        del body["journals"]
        self.assertEqual(body, {"account": "acme", "shipped": True, "verbose_log": True, "backup_manifest": True,
                                "accept_unshipped": False, "location": "West US"})
        self.run_ctl("job", "import", self.journal(), "--account", "acme", "--accept-unshipped", "maybe", code=2)

    def test_job_import_of_utf16(self):
        self.answer("POST", "/v1/jobs", {"sentence": "made"})
        text = '<?xml version="1.0" encoding="utf-16"?>\r\n<Drive>ä</Drive>'
        path = self.station.path("wide.xml", b"\xff\xfe" + text.encode("utf-16-le"))
        self.run_ctl("job", "import", path, "--account", "acme")
        self.assertEqual(self.asked()[3]["journals"][0]["text"], " " * 39 + "\r\n<Drive>ä</Drive>")

    def test_job_import_mistakes(self):
        self.assertIn("needed", self.run_ctl("job", "import", self.journal(), code=2).stderr)
        flags = ("--account", "acme", "--name", "photos")
        self.assertIn("something is missing", self.run_ctl("job", "import", *flags, code=2).stderr)
        self.assertIn("cannot be read", self.run_ctl("job", "import", "/none.jrn", *flags, code=3).stderr)
        self.station.path("bad.jrn", b"hello \xff")
        self.assertIn("neither UTF-8", self.run_ctl("job", "import", self.station.path("bad.jrn"), *flags, code=2).stderr)
        self.assertEqual(self.station.requests, [])

    def test_return_address(self):
        said = {"carrier": "Blue Van", "tracking": "1Z 9"}
        self.answer("POST", "/v1/jobs/photos/ship", {"sentence": "shipped"})
        address = self.station.path("address", b'{"city": "Graz"}')
        words = ("job", "ship", "photos", "--carrier", "Blue Van", "--tracking", "1Z 9", "--return-address")
        self.run_ctl(*words, address)
        self.assertEqual(self.asked()[3], said | {"return_address": {"city": "Graz"}})
        self.run_ctl(*words, self.station.path("address", b"Graz"), code=2)
        self.run_ctl(*words, "/none", code=2)

    def test_dry_run_asks_for_nothing(self):
        flags = ("--account", "acme", "--name", "photos", "--dry-run")
        self.assertIn("POST /v1/jobs", self.run_ctl("job", "import", self.journal(), *flags).stdout)
        self.assertEqual(json.loads(self.run_ctl("job", "import", self.journal(), *flags, "--json").stdout)["path"], "/v1/jobs")
        self.assertEqual(self.station.requests, [])

    # ---- deciding ----

    def act(self, words, method, path, body, *, code=0, sentence="it was done"):
        self.answer(method, path, {"sentence": sentence})
        done = self.run_ctl(*words, code=code)
        self.assertEqual(self.asked(), (method, path, {}, body), words)
        self.assertEqual(done.stdout, sentence + "\n")
        self.assertEqual(json.loads(self.run_ctl(*words, "--json").stdout), {"sentence": sentence})
        self.assertEqual(self.run_ctl(*words, "--quiet").stdout, "")
        count = len(self.station.requests)
        self.assertIn(f"{method} /v1/", self.run_ctl(*words, "--dry-run").stdout)
        self.assertNotIn(method, [r[0] for r in self.station.requests[count:]])
        self.answer(method, path, error("refused", "not now"), 409)
        self.assertIn("not now", self.run_ctl(*words, code=1).stderr)

    def test_decisions_about_drives(self):
        for verb in ("missing", "retry", "pause", "resume"):
            self.act([verb, "QX 7"], "POST", f"/v1/drives/QX 7/{verb}", {})
            self.act([verb, "QX 7", "--job", "photos"], "POST", f"/v1/drives/QX 7/{verb}", {"job": "photos"})
        self.act(["give-up", "QX7", "--yes"], "POST", "/v1/drives/QX7/give-up", {})

    def test_decisions_about_bays(self):
        self.act(["match", "A1", "QX7"], "POST", "/v1/bays/A1/match", {"drive": "QX7"})
        self.act(["match", "A1", "QX7", "--job", "p"], "POST", "/v1/bays/A1/match", {"drive": "QX7", "job": "p"})
        self.act(["locate", "A1"], "POST", "/v1/bays/A1/locate", {"on": True})
        self.act(["locate", "A1", "--off"], "POST", "/v1/bays/A1/locate", {"on": False})

    def test_decisions_about_jobs(self):
        parcel = ("--carrier", "Blue Van", "--tracking", "1Z 9")
        said = {"carrier": "Blue Van", "tracking": "1Z 9"}
        self.act(["job", "return", "photos", *parcel], "POST", "/v1/jobs/photos/return", said)
        self.act(["job", "ship", "photos", *parcel], "POST", "/v1/jobs/photos/ship", said)
        self.act(["job", "receive", "photos"], "POST", "/v1/jobs/photos/receive", None)
        self.act(["job", "cancel", "photos", "--yes"], "POST", "/v1/jobs/photos/cancel", None)
        self.act(["job", "delete", "photos", "--yes"], "DELETE", "/v1/jobs/photos", None)
        self.act(["reload"], "POST", "/v1/reload", None)
        for words in (["job", "return", "photos"], ["job", "ship", "photos", "--carrier", "x"]):
            self.assertIn("needed", self.run_ctl(*words, code=2).stderr)

    def test_receive_some_drives(self):
        for name in ("X1", "X2"):
            self.answer("POST", f"/v1/drives/{name}/receive", {"sentence": f"{name} is in"})
        self.assertEqual(self.run_ctl("job", "receive", "photos", "X1", "X2").stdout, "X1 is in\nX2 is in\n")
        self.assertEqual(self.asked(), ("POST", "/v1/drives/X2/receive", {}, {"job": "photos"}))

    def test_asks_before_what_cannot_be_taken_back(self):
        for words in (["give-up", "QX7"], ["job", "cancel", "photos"], ["job", "delete", "photos"]):
            self.assertIn("not confirmed", self.run_ctl(*words, code=4, stdin=subprocess.DEVNULL).stderr)
        self.assertEqual(self.station.requests, [])

    def test_eject(self):
        self.answer("POST", "/v1/bays/A1/eject", {"sentence": "the drive is safe to remove"})
        self.answer("POST", "/v1/drives/QX7/eject", {"sentence": "safe"})
        self.assertEqual(self.run_ctl("eject", "A1").stdout, "the drive is safe to remove\n")
        self.assertEqual(self.asked(), ("POST", "/v1/bays/A1/eject", {}, None))
        self.assertEqual(self.run_ctl("eject", "QX7").stdout, "safe\n")
        self.assertEqual(self.run_ctl("eject", "QX7", "--no-wait").stdout, "The drive is safe to remove.\n")
        self.answer("POST", "/v1/bays/A1/eject", error("refused", "not now"), 409)
        for more in ([], ["--no-wait"]):
            self.assertIn("not now", self.run_ctl("eject", "A1", *more, code=1).stderr)

    def test_eject_takes_its_time(self):
        def slow(_):
            self.waiting.wait(30)
            return 200, {"sentence": "safe"}
        self.waiting = threading.Event()
        self.addCleanup(self.waiting.set)
        self.station.answers["POST", "/v1/bays/A1/eject"] = slow
        self.assertIn("is being made safe", self.run_ctl("eject", "A1", "--no-wait").stdout)
        self.assertEqual(json.loads(self.run_ctl("eject", "A1", "--no-wait", "--json").stdout), {"waiting": True})
        with subprocess.Popen([BERTHCTL, "eject", "A1", "--socket", self.station.socket], stdout=subprocess.PIPE) as waits:
            with self.assertRaises(subprocess.TimeoutExpired):
                waits.wait(3)
            self.waiting.set()
            self.assertEqual(waits.communicate(timeout=30)[0], b"safe\n")

    # ---- the station ----

    def test_limit(self):
        self.answer("GET", "/v1/limits", {"bandwidth_bytes_per_second": 0, "memory_bytes": 2 << 30})
        self.answer("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 50000000, "memory_bytes": 2 << 30})
        self.assertEqual(self.run_ctl("limit").stdout.split("\n")[0].split(None, 4)[4], "none")
        self.assertIn("50.0 MB/s", self.run_ctl("limit", "50MB").stdout)
        self.assertEqual(self.asked(), ("PUT", "/v1/limits", {}, {"bandwidth_bytes_per_second": 50000000}))
        self.run_ctl("limit", "none", "--json")
        self.assertEqual(self.asked()[3], {"bandwidth_bytes_per_second": 0})
        self.assertIn("PUT /v1/limits", self.run_ctl("limit", "1MiB", "--dry-run").stdout)
        for wrong in ("0", "-5", "fast", "5 MB/s", "99999999999T"):
            self.run_ctl("limit", wrong, code=2)

    def test_station(self):
        self.answer("GET", "/v1/station", {"name": "dc1", "version": "0.1.0", "bays": 8, "docked": 3, "workers": 2,
                                           "bytes_per_second": 412000000, "bandwidth_bytes_per_second": 0, "healthy": False,
                                           "memory_bytes": 1 << 30, "trouble": "the disk is full", "stopping": True,
                                           "job_service": {"url": "https://hub:8443", "waiting": 12, "failures": 3,
                                                           "heard_at": "2031-04-09T07:15:02Z", "trouble": "no route"}})
        shown = self.run_ctl("station").stdout
        for words in ("dc1", "0.1.0", "412 MB/s", "the disk is full", "Stopping", "none", "https://hub:8443", "12", "no route"):
            self.assertIn(words, shown)

    def test_config(self):
        config = {"file": "/etc/berth/berthd.conf", "name": "dc1", "memory": 5, "accept_unshipped": True, "bays": ["A1", "A2"],
                  "accounts": [{"name": "acme", "endpoint": "https://acme.blob.core.windows.net", "credential": "sas",
                                "credential_file": "acme.sas"}]}
        self.answer("GET", "/v1/config", config)
        shown = self.run_ctl("config").stdout
        for words in ("/etc/berth/berthd.conf", "accept_unshipped  yes", "A2", "acme.sas", "https://acme"):
            self.assertIn(words, shown)
        self.assertEqual(json.loads(self.run_ctl("config", "--json").stdout), config)
        self.run_ctl("config", "--config", "x", code=2)

    def test_config_check(self):
        fake = self.station.path("berthd", b'#!/bin/sh\necho "$@" >&2\nexit ${EXIT:-0}\n')
        fake.chmod(0o755)
        berthctl = self.station.path("berthctl", pathlib.Path(BERTHCTL).read_bytes())  # beside it
        berthctl.chmod(0o755)

        def check(*words, code, exit_code=0):
            done = subprocess.run([berthctl, "config", "--check", *words], capture_output=True, text=True,
                                  env=os.environ | {"EXIT": str(exit_code)}, timeout=60)
            self.assertEqual(done.returncode, code, done)
            return done.stdout
        self.assertEqual(check(code=0), "--check\n")
        self.assertEqual(check("--config", "/a b", code=1, exit_code=78), "--check --config /a b\n")
        self.assertEqual(json.loads(check("--json", code=1, exit_code=1)), {"valid": False, "output": "--check\n"})
        fake.unlink()
        path = {"PATH": self.station.folder.name + "/none"}
        done = subprocess.run([berthctl, "config", "--check"], capture_output=True, text=True, env=path, timeout=60)
        self.assertEqual(done.returncode, 3)
        self.assertIn("cannot be run", done.stderr)

    def test_hub(self):
        self.answer("GET", "/v1/hub/stations", {"stations": [{"source": "/berth/dc1", "name": "dc1", "silent": True, "docked": 3,
                                                              "heard_at": "2031-04-09T07:15:02.118000Z", "applied": 77}]})
        for words in ("dc1", "silent", "77", "2031-04-09 07:15:02Z"):
            self.assertIn(words, self.run_ctl("hub", "stations").stdout)
        self.answer("GET", "/v1/hub/conflicts", {"conflicts": [{"conflict": "docked-twice", "serial": "QX7", "open": True,
                                                                "sources": "dc1 dc2", "sentence": "find out"}]})
        for words in ("docked-twice", "open", "QX7", "dc1 dc2", "find out"):
            self.assertIn(words, self.run_ctl("hub", "conflicts").stdout)
        self.answer("GET", "/v1/hub/conflicts", {"conflicts": []})
        self.assertEqual(self.run_ctl("hub", "conflicts").stdout, "There are none.\n")

    def test_hub_drives(self):
        def page(query):
            n = int(query.get("after_subject", 0)) + 1
            following = {"next_source": "/berth/dc1", "next_subject": str(n)} if n < 3 else {}
            return 200, {"drives": [{"source": "/berth/dc1", "serial": f"QX{n}", "job": "photos",
                                     "drive_says": {"state": "Transferring", "copyStatus": "InProgress", "percentComplete": 45},
                                     "bay_says": {"docked": True, "bay": "A1"}}], **following}
        self.station.answers["GET", "/v1/hub/drives"] = page
        lines = self.run_ctl("hub", "drives", "--job", "photos").stdout.splitlines()
        self.assertEqual([line.split()[:7] for line in lines[1:]],
                         [[f"QX{n}", "photos", "dc1", "A1", "Transferring", "InProgress", "45%"] for n in (1, 2, 3)])
        self.assertEqual(self.asked()[2]["job"], "photos")
        self.answer("GET", "/v1/hub/drives", {"drives": [{"serial": "X"}], "next_source": "a", "next_subject": "b"})
        self.assertEqual(len(self.run_ctl("hub", "drives").stdout.splitlines()), 3)

    def test_outbox(self):
        def page(query):
            n = int(query.get("after", 0)) + 1
            return 200, {"parked": [{"sequence": n, "kind": "drive.docked", "job": "photos", "serial": f"QX{n}", "who": "station",
                                     "time": "2031-04-09T07:15:02.118000Z", "parked_at": "2031-04-10T07:15:02.118000Z",
                                     "refusal": "this is no event"}], **({"next": n} if n < 3 else {})}
        self.station.answers["GET", "/v1/outbox"] = page
        lines = self.run_ctl("outbox", "list").stdout.splitlines()
        self.assertEqual([line.split()[:4] for line in lines[1:]],
                         [[str(n), "drive.docked", "photos", f"QX{n}"] for n in (1, 2, 3)])
        self.assertIn("2031-04-10 07:15:02Z", lines[1])
        self.assertIn("this is no event", lines[1])
        self.answer("GET", "/v1/outbox", {"parked": [], "next": 1})
        self.assertEqual(self.run_ctl("outbox", "list").stdout, "The job service refused nothing.\n")
        self.act(["outbox", "resend", "7"], "POST", "/v1/outbox/7/resend", None)
        self.act(["outbox", "drop", "8", "--yes"], "POST", "/v1/outbox/8/drop", None)
        self.run_ctl("outbox", "drop", "8", code=4)

    # ---- what happened ----

    def event(self, sequence, kind="drive.state", **more):
        return {"sequence": sequence, "kind": kind, "time": f"2031-04-09T07:15:{sequence:02}.000000Z", "job": "photos",
                "serial": "QX7", "subject": "jobs/photos/drives/QX7", "who": "uid 1000 (anna)",
                "data": {"state": "Received", "bay": "A1"}} | more

    def test_history(self):
        pages = {None: ([9, 8, 7], 7), "7": ([6, 5, 4], 4), "4": ([3], None)}

        def page(query):
            sequences, following = pages[query.get("before")]
            return 200, {"events": [self.event(s) for s in sequences], **({"next": following} if following else {})}
        self.station.answers["GET", "/v1/events"] = page
        lines = self.run_ctl("history").stdout.splitlines()
        self.assertEqual([line.split()[1] for line in lines[1:]], [f"07:15:{s:02}Z" for s in (3, 4, 5, 6, 7, 8, 9)])
        for words in ("the drive is in another state", "Received", "A1", "uid 1000 (anna)"):
            self.assertIn(words, lines[1])
        self.assertEqual(len(self.run_ctl("history", "--lines", "2").stdout.splitlines()), 3)
        self.assertEqual(len(json.loads(self.run_ctl("history", "--json").stdout)["events"]), 3)
        for wrong in ("0", "x", "10000000000"):
            self.run_ctl("history", "--lines", wrong, code=2)

    def test_history_of_one(self):
        self.answer("GET", "/v1/events", {"events": []})
        self.assertEqual(self.run_ctl("history", "photos").stdout, "Nothing happened.\n")
        self.assertEqual((self.asked()[2].get("job"), self.asked()[2].get("drive")), ("photos", None))
        self.run_ctl("history", "QX7")
        self.assertEqual((self.asked()[2].get("job"), self.asked()[2].get("drive")), (None, "QX7"))

    def test_history_tells_what_counts(self):
        self.answer("GET", "/v1/events", {"events": [
            self.event(3, "drive.progress", data={"percentComplete": 45, "state": "Transferring"}),
            self.event(2, "job.alert", data={"alert": "package-missing", "sentence": "ask the customer"}),
            self.event(1, "some.other", data=None, who=None)]})
        lines = self.run_ctl("history").stdout.splitlines()
        self.assertIn("some.other", lines[1])
        self.assertIn("ask the customer", lines[2])
        self.assertIn("45%", lines[3])

    def test_receipt(self):
        answer = {"receipt": {"version": 1}, "text": "Receipt\n  drive QX7\n\x1b[31m\n", "sha256": "AB"}
        self.answer("GET", "/v1/drives/QX7/receipt", answer)
        self.assertEqual(self.run_ctl("receipt", "QX7", "--job", "photos").stdout, "Receipt\n  drive QX7\n\\x1b[31m\n")
        self.assertEqual(self.asked()[2], {"job": "photos"})
        self.assertEqual(json.loads(self.run_ctl("receipt", "QX7", "--json").stdout), answer)
        path = self.station.path("receipt.txt")
        self.run_ctl("receipt", "QX7", "--output", path)
        self.assertEqual(path.read_text(), answer["text"])
        self.run_ctl("receipt", "QX7", "--json", "--output", path)
        self.assertEqual(json.loads(path.read_text()), answer)
        self.assertIn("cannot be written", self.run_ctl("receipt", "QX7", "--output", "/nonexistent/x", code=3).stderr)

    def test_logs(self):
        self.answer("GET", "/v1/drives/QX7/logs", {
            "error_log": "logs/waimportexport/e.log", "runs": [
                {"ended_at": "2031-04-09T07:15:02.118000Z", "end": "done", "copy_status": "CompletedWithErrors", "blobs": 7,
                 "bytes": 12000000, "sentence": "two files were skipped", "error_log": "logs/waimportexport/e.log"}]})
        shown = self.run_ctl("logs", "QX7").stdout
        for words in ("2031-04-09 07:15:02Z", "CompletedWithErrors", "12.0 MB", "two files", "logs/waimportexport/e.log"):
            self.assertIn(words, shown)
        self.answer("GET", "/v1/drives/QX7/logs", {"runs": []})
        self.assertIn("No worker", self.run_ctl("logs", "QX7").stdout)

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
        self.assertIn("import, show, ship", self.run_ctl("job", code=2).stderr)
        for words in (["--help"], ["list", "--help"], ["job", "import", "--help"], ["--version"]):
            self.run_ctl(*words)

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BERTHCTL, "list", "--socket", self.station.socket], stdout=full)
        self.assertEqual(done.returncode, 3)


if __name__ == "__main__":
    unittest.main()
