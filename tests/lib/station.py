# SPDX-License-Identifier: GPL-3.0-or-later
"""A station that answers from a list: HTTP on a Unix socket, for tests of berthctl without a daemon.

    with Station() as station:
        station.bays = [bay("A1")]
        station.answers["POST", "/v1/bays/A1/eject"] = (409, {"error": {…}})
        run([BERTHCTL, "list", "--socket", station.socket])
        station.requests        # what was asked: (method, path, query, body)
"""
import http.server
import json
import os
import pathlib
import socket
import socketserver
import tempfile
import threading
import urllib.parse


def error(reason="refused", message="it is not possible in the present state", advice="see the states", **more):
    return {"error": {"reason": reason, "message": message, "advice": advice, **more}}


def progress(percent=45, **more):
    return {"bytes": 27100000000, "bytes_done": 271000000 * percent, "blobs": 1000, "blobs_done": 10 * percent,
            "percent": percent, "bytes_per_second": 412000000, "seconds_left": 36, "wait": "network",
            "sent_bytes": 271000000 * percent, "requests": 5000, "retries": 3, "throttled": 1, "in_flight": 16,
            "memory_bytes": 134217728} | more


def bay(name="A1", serial="QX7TESTDRV01", **more):
    return {"bay": name, "places": ["id-path:pci-0000:00:1f.2-ata-2.0"], "state": "docked", "activity": "transferring",
            "sentence": "blobs are being copied", "led": "activity", "locate": False,
            "docked_at": "2031-04-09T07:15:02.118000Z",
            "drive": {"serial": serial, "model": "WDC WD40EFAX", "firmware": "82.00A82", "bus": "ata",
                      "size": 4000787030016, "sector_bytes": 512, "rotational": True, "node": "/dev/sdb", "sequence": 7,
                      "serial_source": "ata", "warnings": ["4K sectors are emulated"],
                      "health": {"verdict": "good", "sentence": "nothing points to a failure", "temperature": 31,
                                 "power_on_hours": 1200, "reallocated": 0, "pending": 0}},
            "match": {"kind": "one", "sentence": "the drive belongs to a job"}, "job": "photos",
            "progress": progress()} | more


def empty(name):
    return {"bay": name, "places": ["usb:2-1.3"], "state": "empty", "led": "off", "locate": False}


def drive(serial="QX7TESTDRV01", **more):
    return {"serial": serial, "job": "photos", "state": "Transferring", "copy_status": "InProgress",
            "activity": "transferring", "sentence": "blobs are being copied", "percent": 45, "bytes": 27100000000,
            "bytes_done": 12195000000, "blobs": 1000, "blobs_done": 450, "bay": "A1", "docked": True, "running": True,
            "held": False, "manifest_file": "\\DriveManifest.xml", "manifest_hash": "0123456789ABCDEF0123456789ABCDEF",
            "received_at": "2031-04-09T07:15:02.118000Z", "begun_at": "2031-04-09T07:15:09.000000Z",
            "corrections": 0} | more


def job(name="photos", **more):
    return {"id": 7, "name": name, "scope": "", "location": "West US", "origin": "journal", "state": "Transferring",
            "account": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acme",
            "percent": 45, "cancel_requested": False, "accept_unshipped": True,
            "created_at": "2031-04-08T10:00:00.000000Z", "alerts": [], "drives": [drive()]} | more


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "local"

    def log_message(self, *_):
        pass

    def answer(self):
        station = self.server.station
        parts = urllib.parse.urlsplit(self.path)
        steps = [urllib.parse.unquote(step) for step in parts.path.split("/")[2:]]
        path, query = "/v1/" + "/".join(steps), dict(urllib.parse.parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        station.requests.append((self.command, path, query, json.loads(body) if body else None))
        status, answer = station.find(self.command, path, steps, query)
        if status is None:  # hangs up
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        try:
            self.end_headers()
            self.wfile.write(data)
        except BrokenPipeError:  # the client had enough
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer


class Station:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="berth-ctl-")
        self.socket = os.path.join(self.folder.name, "s")
        self.requests, self.answers = [], {}
        self.bays, self.drives, self.jobs = [bay("A1"), empty("A2")], [drive()], [job()]
        self.server = Server(self.socket, Handler)
        self.server.station = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def path(self, name, content=None):
        path = pathlib.Path(self.folder.name) / name
        if content is not None:
            path.write_bytes(content)
        return path

    def find(self, method, path, steps, query):
        """The status and the answer. An entry of `answers` may be a function of the query."""
        if (method, path) in self.answers:
            found = self.answers[method, path]
            return found(query) if callable(found) else found
        folder, name = steps[0], steps[1] if len(steps) > 1 else None
        lists = {"bays": (self.bays, "bay"), "drives": (self.drives, "serial"), "jobs": (self.jobs, "name")}
        if method == "GET" and folder in lists and len(steps) < 3:
            items, key = lists[folder]
            if name is None:
                return 200, {folder: items}
            for item in items:
                if item[key] == name:
                    return 200, item
            return 404, error("not-found", f"there is no such {key}", "list what there is", object=name)
        return 404, error("not-found", "there is no such path", object=path)
