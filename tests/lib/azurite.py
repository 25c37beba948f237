# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops the blob emulator for tests, on a free port of 127.0.0.1, plain or with TLS.

    with Azurite() as server:          # or Azurite(tls=True)
        server.endpoint, server.account, server.key, server.ca_file

Also runs scripts against it with the official client (node, @azure/storage-blob): Azurite.client().
Where node's packages cannot be installed, Missing is raised, and tests skip (77).
"""
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
START_LIMIT_SEC = 60
ACCOUNT = "devstoreaccount1"
# The emulator's own well-known key, which every copy of it has.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Missing(Exception):
    """The emulator is not there, and why."""


def npm_folder() -> pathlib.Path:
    run = subprocess.run([SOURCE / "scripts/npm-tools"], capture_output=True, text=True)
    if run.returncode:
        raise Missing(run.stderr.strip() or "scripts/npm-tools failed")
    return pathlib.Path(run.stdout.strip().splitlines()[-1])


def make_certificates(folder: pathlib.Path) -> None:
    """A test authority (ca.pem) and a server's certificate for 127.0.0.1 and localhost (server.pem, server.key)."""

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=Berth test authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "server.pem")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Azurite:
    def __init__(self, tls: bool = False, memory_mib: int = 1024, keep: "pathlib.Path | None" = None):
        """With `keep` the blobs are in that folder, so that the server may be restarted."""
        self.keep, self.port = keep, None
        self.npm = npm_folder()
        self.node = self.npm / "node_modules/node/bin/node"
        self.tls = tls
        self.memory_mib = memory_mib
        self.account, self.key = ACCOUNT, KEY
        self.process = None

    def __enter__(self) -> "Azurite":
        self.folder = tempfile.TemporaryDirectory(prefix="berth-azurite-")
        folder = pathlib.Path(self.folder.name)
        make_certificates(folder)
        self.ca_file = str(folder / "ca.pem")
        self.port = free_port()
        self.command_folder = folder
        self.start()
        return self

    def start(self) -> None:
        folder = self.command_folder
        self.endpoint = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/{ACCOUNT}"
        command = [self.node, "--max-old-space-size=4096", self.npm / "node_modules/azurite/dist/src/blob/main.js",
                   "--blobHost", "127.0.0.1", "--blobPort", str(self.port),
                   "--skipApiVersionCheck", "--loose", "--silent", "--disableTelemetry"]
        if self.keep:
            command += ["--location", self.keep]
        else:
            command += ["--inMemoryPersistence", "--extentMemoryLimit", str(self.memory_mib)]
        if self.tls:
            command += ["--cert", folder / "server.pem", "--key", folder / "server.key", "--oauth", "basic"]
        self.log = open(folder / "log", "ab")
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + START_LIMIT_SEC
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Missing("the emulator ended: " + (folder / "log").read_text(errors="replace")[-500:])
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.1)
        raise Missing("the emulator did not start")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __exit__(self, *_) -> None:
        self.stop()
        self.folder.cleanup()

    def client(self, script: str, *args: str) -> object:
        """Runs the body of an async function with `service`, `sdk` and `args`; what it returns comes back (JSON)."""
        program = (
            "const sdk = require('@azure/storage-blob');"
            "const [endpoint, account, key, ...args] = process.argv.slice(2);"
            "const credential = new sdk.StorageSharedKeyCredential(account, key);"
            "const service = new sdk.BlobServiceClient(endpoint, credential);"
            "(async () => {" + script + "})().then(r => console.log(JSON.stringify(r === undefined ? null : r)),"
            "  e => { console.error(e); process.exit(1); });")
        with tempfile.NamedTemporaryFile("w", suffix=".js", dir=self.folder.name) as f:
            f.write(program)
            f.flush()
            environment = dict(os.environ, NODE_PATH=str(self.npm / "node_modules"), NODE_EXTRA_CA_CERTS=self.ca_file)
            run = subprocess.run([self.node, f.name, self.endpoint, self.account, self.key, *args],
                                 capture_output=True, text=True, env=environment)
        if run.returncode:
            raise AssertionError("the official client failed: " + run.stderr[-3000:])
        return json.loads(run.stdout)
