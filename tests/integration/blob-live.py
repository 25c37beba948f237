#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The blob client against the emulator: each kind of credential, plain and TLS, and through faults.

Usage: blob-live.py PROGRAM        (the built blob-live; skips with 77 where the emulator cannot be had)
What the program leaves behind is read with the official client.
"""
import base64
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402

NAMES = ["plain", "a%20b", "100%", "q?x=1&y#z", "dots...", "a/../b", "x//y", "./here", "dir/.", "trail/",
         "gr\u00fc\u00df \u6f22", "plus+amp&eq=", "semi;colon:at@", "'quote'\"two\"", "[br]{ace}|^~`",
         "%2e%2e/%2F", "...", "a/..b/c.."]
LIST_ALL = """
    const found = {};
    for await (const c of service.listContainers()) {
        const container = service.getContainerClient(c.name);
        for await (const b of container.listBlobsFlat()) {
            const md5 = b.properties.contentMD5 ? Buffer.from(b.properties.contentMD5).toString('hex') : '';
            let data = null;
            // The official client cannot address names with "." and ".." in them, only list them.
            if (!b.name.split('/').some(s => s === '.' || s === '..'))
                data = (await container.getBlobClient(b.name).downloadToBuffer()).toString('base64');
            found[c.name + '|' + b.name] = { md5, data };
        }
    }
    return found;"""
ACCOUNT_SAS = """
    return sdk.generateAccountSASQueryParameters({
        expiresOn: new Date(Date.now() + 3600e3), permissions: sdk.AccountSASPermissions.parse('rwdlacup'),
        services: 'b', resourceTypes: 'sco' }, credential).toString();"""
CONTAINER_SAS = """
    await service.getContainerClient('live').createIfNotExists();
    return sdk.generateBlobSASQueryParameters({ containerName: 'live',
        expiresOn: new Date(Date.now() + 3600e3), permissions: sdk.ContainerSASPermissions.parse('racwdl')
        }, credential).toString();"""


def run(program, suite, endpoint, server, kind, secret, folder) -> None:
    path = pathlib.Path(folder) / "credential"
    path.write_text(secret + "\n")
    path.chmod(0o600)
    environment = dict(os.environ, BERTH_SUITE=suite, BERTH_ENDPOINT=endpoint, BERTH_ACCOUNT=server.account,
                       BERTH_CREDENTIAL_KIND=kind, BERTH_CREDENTIAL_FILE=str(path),
                       BERTH_CA_FILE=server.ca_file if endpoint.startswith("https") else "")
    done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=300)
    print(f"--- {suite} with {kind} at {endpoint}\n{done.stdout}{done.stderr}")
    if done.returncode:
        sys.exit(1)


def check_left_behind(server) -> None:
    found = server.client(LIST_ALL)
    for name in NAMES:
        blob = found["live|" + name]
        assert blob["md5"] == hashlib.md5(name.encode()).hexdigest(), f"blob {name!r} is not what was sent"
        assert blob["data"] is None or base64.b64decode(blob["data"]).decode() == name, f"blob {name!r} differs"
    assert base64.b64decode(found["$root|at-the-root.txt"]["data"]) == b"root"
    blocks = base64.b64decode(found["live|blocks"]["data"])
    assert blocks == bytes((i * 31 + i // 977) & 255 for i in range(5 * 70001)), "the blocks are not what was sent"


def operations(program, folder) -> None:
    for tls in (False, True):
        with Azurite(tls=tls) as server:
            run(program, "operations", server.endpoint, server, "key", server.key, folder)
            check_left_behind(server)
            if tls:
                run(program, "pause", server.endpoint, server, "key", server.key, folder)
    with Azurite() as server:
        run(program, "operations", server.endpoint, server, "sas", server.client(ACCOUNT_SAS), folder)
        check_left_behind(server)


def faults(program, folder) -> None:
    with Azurite() as server, FaultProxy(server.port) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}/{server.account}"
        sas = server.client(CONTAINER_SAS)
        proxy.add("reset", match="^PUT .*fault-3[?]", times=2)
        proxy.add("lose", match="^PUT .*fault-5[?]")
        proxy.add("stall", match="^PUT .*fault-7[?]", seconds=10)
        proxy.add("status", match="^PUT .*fault-9[?]", status=500, code="InternalError", times=3)
        proxy.add("status", match="^PUT .*fault-11[?]", status=503, code="ServerBusy", headers={"Retry-After": "1"})
        proxy.add("status", match="^PUT .*fault-13[?]", status=403, code="AuthenticationFailed", times=2)
        proxy.add("flip", match="^PUT .*fault-15[?]", times=2)
        proxy.add("twice", match="^PUT .*fault-17[?]", times=2)
        proxy.add("truncate", match="^GET .*fault-19[?]", times=2)
        proxy.add("status", match="^GET .*fault-21[?]", status=401, headers={"WWW-Authenticate": "Bearer"})
        proxy.add("truncate", match="^PUT .*fault-23[?]")
        run(program, "faults", endpoint, server, "sas", sas, folder)
        wanted = {"reset": 2, "lose": 1, "stall": 1, "status": 7, "flip": 2, "twice": 1, "truncate": 3}
        assert proxy.hits == wanted, f"the proxy made other faults than it was told: {proxy.hits}"
        proxy.add("lose", match="^PUT .*/lost[?]")
        run(program, "lost", endpoint, server, "sas", sas, folder)
        proxy.add("delay", match="^HEAD .*/slow[?]", seconds=0.3, times=-1)
        proxy.add("status", match="^PUT .*/busy[?]", status=503, code="ServerBusy")
        run(program, "limit", endpoint, server, "sas", sas, folder)


def main() -> None:
    program = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="berth-live-") as folder:
        try:
            operations(program, folder)
            faults(program, folder)
        except Missing as reason:
            print(f"skipped: {reason}")
            sys.exit(77)


if __name__ == "__main__":
    main()
