# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops the blob emulator for tests, on a free port of 127.0.0.1, plain or with TLS.

    with Azurite() as server:          # or Azurite(tls=True)
        server.endpoint, server.account, server.key, server.ca_file
    with emptied() as server:          # the one that all parts of a test share, with nothing in it

Also runs scripts against it with the official client (node, @azure/storage-blob): Azurite.client().
Where node's packages cannot be installed, Missing is raised, and tests skip (77).
"""
import atexit
import collections.abc
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
START_LIMIT_SEC = 60
ACCOUNT = "devstoreaccount1"
# The emulator's own well-known key, which every copy of it has.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# The official client, kept running: a line with a script in, a line with its outcome out.
CLIENT = """
const sdk = require('@azure/storage-blob');
const [endpoint, account, key] = process.argv.slice(2);
const credential = new sdk.StorageSharedKeyCredential(account, key);
const service = new sdk.BlobServiceClient(endpoint, credential);
const AsyncFunction = (async () => {}).constructor;
(async () => {
    for await (const line of require('readline').createInterface({ input: process.stdin })) {
        const { script, args } = JSON.parse(line);
        let outcome;
        try {
            const run = new AsyncFunction('require', 'sdk', 'service', 'credential', 'args', script);
            const result = await run(require, sdk, service, credential, args);
            outcome = { result: result === undefined ? null : result };
        } catch (e) {
            outcome = { error: require('util').inspect(e) };
        }
        process.stdout.write(JSON.stringify(outcome) + '\\n');
    }
})();
"""
EMPTY = """
    for await (const container of service.listContainers())
        await service.getContainerClient(container.name).delete();"""


class Missing(Exception):
    """The emulator is not there, and why."""


def npm_folder(*which: str) -> pathlib.Path:
    """The folder of the emulator and the clients; `which` is an option of scripts/npm-tools for another."""
    run = subprocess.run([SOURCE / "scripts/npm-tools", *which], capture_output=True, text=True)
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


def make_client_certificate(folder: pathlib.Path, ca: pathlib.Path) -> pathlib.Path:
    """Of CN=station under an authority of make_certificates(): client.pem and client.key in the folder."""
    def openssl(*args: "str | pathlib.Path") -> None:
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=station",
            "-keyout", "client.key", "-out", "client.csr")
    openssl("x509", "-req", "-in", "client.csr", "-CA", ca, "-CAkey", ca.with_name("ca.key"), "-CAcreateserial",
            "-days", "2", "-out", "client.pem")
    return folder


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
        self.asked, self.asking = None, threading.Lock()
        # What was compiled for one run need not be compiled for the next.
        self.environment = dict(os.environ, NODE_COMPILE_CACHE=str(self.npm / "compiled"))

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
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=self.environment)
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
        self._stop_client()
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
        """Runs the body of an async function with `service`, `sdk`, `credential` and `args`; its value comes back (JSON)."""
        with self.asking:
            if not self.asked:
                self.asked = self._start_client()
            self.asked.stdin.write(json.dumps({"script": script, "args": args}) + "\n")
            self.asked.stdin.flush()
            line = self.asked.stdout.readline()
        outcome = json.loads(line) if line else {"error": (self.command_folder / "log").read_text(errors="replace")}
        if "error" in outcome:
            raise AssertionError("the official client failed: " + outcome["error"][-3000:])
        return outcome["result"]

    def _start_client(self) -> subprocess.Popen:
        program = self.command_folder / "client.js"
        program.write_text(CLIENT)
        environment = self.environment | {"NODE_PATH": str(self.npm / "node_modules"), "NODE_EXTRA_CA_CERTS": self.ca_file}
        return subprocess.Popen([self.node, program, self.endpoint, self.account, self.key], env=environment, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)

    def _stop_client(self) -> None:
        if self.asked:
            self.asked.kill()
            self.asked.communicate()
            self.asked = None


@contextlib.contextmanager
def emptied() -> "collections.abc.Iterator[Azurite]":
    """One server for all parts of a test that want an empty one: to start it costs two seconds of a core."""
    if not SHARED:
        SHARED.append(Azurite(memory_mib=4096))
        SHARED[0].__enter__()
        atexit.register(SHARED[0].__exit__)
    SHARED[0].client(EMPTY)
    yield SHARED[0]


SHARED: "list[Azurite]" = []
