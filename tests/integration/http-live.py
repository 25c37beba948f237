#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport against a TLS server of this test: authorities, names, versions, client certificates, proxies.

Usage: http-live.py PROGRAM
"""
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import make_certificates, make_client_certificate  # noqa: E402

PROGRAM = sys.argv[1]


class Listener:
    """Accepts connections on 127.0.0.1 and gives each to `serve`, until left."""

    def __init__(self, serve):
        self.serve = serve
        self.lines = []

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        try:
            connection.settimeout(10)
            self.serve(self, connection)
        except (OSError, ssl.SSLError):
            pass
        finally:
            connection.close()


def read_head(connection) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            raise OSError("closed")
        head += piece
    return head.decode()


def read_body(connection, head: str) -> int:
    length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("Content-Length")), 0)
    left = length
    while left > 0:
        piece = connection.recv(min(left, 65536))
        if not piece:
            raise OSError("closed")
        left -= len(piece)
    return length


def tls_server(folder, newest=None, client_ca=None) -> Listener:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if newest:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)

    def serve(listener, connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            head = read_head(tls)
            line = head.split("\r\n")[0]
            listener.taken = read_body(tls, head)
            who = dict(pair[0] for pair in (tls.getpeercert() or {}).get("subject", ())).get("commonName", "nobody")
            listener.lines.append(line)
            text = f"{tls.version()} {who}"
            tls.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    return Listener(serve)


def plain_server(answers: bool) -> Listener:
    """Takes requests with a body, one after the other, and answers or not."""

    def serve(listener, connection):
        while True:
            head = read_head(connection)
            read_body(connection, head)
            listener.lines.append(head.split(" ")[0])
            if answers:
                connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    return Listener(serve)


def nonsense_server(folder) -> Listener:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    def serve(_listener, connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            read_head(tls)
            tls.sendall(b"250 This is another service\r\n\r\n")

    return Listener(serve)


def proxy() -> Listener:
    def serve(listener, connection):
        line = read_head(connection).split("\r\n")[0]
        listener.lines.append(line)
        host, port = line.split(" ")[1].rsplit(":", 1)
        with socket.create_connection(("127.0.0.1", int(port))) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, connection), daemon=True)
            back.start()
            pump(connection, upstream)
            back.join(5)

    return Listener(serve)


def pump(source, target) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def ask(url: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    clean.update({f"BERTH_{name}": str(value) for name, value in environment.items()})
    # What the environment says of proxies is nothing to us.
    clean.update(https_proxy="http://127.0.0.1:1", HTTPS_PROXY="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1")
    run = subprocess.run([PROGRAM, url], env=clean, capture_output=True, text=True, timeout=60)
    print(f"{url} {environment}: {run.stdout.strip()} ({run.stderr.strip()})")
    return run.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="berth-http-") as name, \
            tempfile.TemporaryDirectory(prefix="berth-http-") as other_name:
        folder, other = pathlib.Path(name), pathlib.Path(other_name)
        make_certificates(folder)
        make_certificates(other)
        make_client_certificate(folder, folder / "ca.pem")
        ca = folder / "ca.pem"
        with tls_server(folder) as server:
            here = f"https://127.0.0.1:{server.port}/x"
            assert ask(here, CA=ca) == "ok 200 TLSv1.3 nobody"
            assert ask(here).startswith("EKEYREJECTED 0"), "an authority that is not the system's"
            assert ask(here, CA=other / "ca.pem").startswith("EKEYREJECTED 0"), "another authority"
            assert ask(here, CA=folder / "missing.pem").startswith(("EKEYREJECTED 0", "options"))
            # Around the lengths of records, and of what curl sends with the headers.
            for length in (1, 16383, 16384, 16385, 32767, 32768, 50000, 65535, 65536, 200000):
                assert ask(here, CA=ca, BODY=length) == "ok 200 TLSv1.3 nobody", length
                assert server.taken == length, (server.taken, length)
            # The name in the URL is the one that is checked, wherever the connection goes.
            to = f"blob.example:443:127.0.0.1:{server.port}"
            assert ask("https://blob.example/x", CA=ca, CONNECT_TO=to).startswith("EKEYREJECTED 0")
            to = f"localhost:443:127.0.0.1:{server.port}"
            assert ask("https://localhost/x", CA=ca, CONNECT_TO=to) == "ok 200 TLSv1.3 nobody"
            # Paths go out as they are.
            assert ask(f"https://localhost:{server.port}/a/../b//c%2Fd", CA=ca).startswith("ok 200")
            assert server.lines[-1] == "GET /a/../b//c%2Fd HTTP/1.1", server.lines[-1]
            with proxy() as middle:
                assert ask(here, CA=ca, PROXY=f"http://127.0.0.1:{middle.port}") == "ok 200 TLSv1.3 nobody"
                assert middle.lines == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"], middle.lines
            assert ask(here, CA=ca, PROXY="http://127.0.0.1:1").startswith("ECONNREFUSED 0")
        with tls_server(folder, newest=ssl.TLSVersion.TLSv1_2) as server:
            assert ask(f"https://127.0.0.1:{server.port}/", CA=ca) == "ok 200 TLSv1.2 nobody"
        with tls_server(folder, newest=ssl.TLSVersion.TLSv1_1) as server:
            assert ask(f"https://127.0.0.1:{server.port}/", CA=ca).startswith("ECONNRESET 0")
            assert server.lines == [], "TLS 1.1 was spoken"
        with nonsense_server(folder) as server:  # may be tried again: it is no fault of the URL
            assert ask(f"https://127.0.0.1:{server.port}/", CA=ca).startswith("ECONNRESET 0")
        assert ask("gopher://127.0.0.1/", CA=ca).startswith("EINVAL 0")
        with tls_server(folder, client_ca=str(ca)) as server:
            here = f"https://127.0.0.1:{server.port}/"
            assert ask(here, CA=ca, CERT=folder / "client.pem", KEY=folder / "client.key") == "ok 200 TLSv1.3 station"
            assert not ask(here, CA=ca).startswith("ok")
            assert not ask(here, CA=ca, CERT=other / "server.pem", KEY=other / "server.key").startswith("ok")
        # Who waits for its share of the cap, or for its own bytes, is not stalled, and sleeps no longer than it has to.
        with plain_server(answers=True) as server:
            assert ask(f"http://127.0.0.1:{server.port}/", CAP=65536, STALL=1).split() == ["ok", "201"] * 4
            assert ask(f"http://127.0.0.1:{server.port}/", PAUSE=5, STALL=1).split() == ["ok", "201"]
            assert server.lines == ["PUT"] * 5, server.lines
        with plain_server(answers=False) as server:
            assert ask(f"http://127.0.0.1:{server.port}/", STALL=1) == "ETIMEDOUT 0"


if __name__ == "__main__":
    main()
