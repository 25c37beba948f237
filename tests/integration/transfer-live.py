#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transfer engine against the emulator: all kinds of blobs and dispositions, faults, kills, restarts.

Usage: transfer-live.py PROGRAM [--soak] [--no-kills] [PART...]     (skips with 77 where the emulator cannot be had)
BERTH_SEED repeats a run. What arrives is read with the official client and compared byte for byte.
"""
import base64
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Missing, emptied  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402

BLOCK, PAGE_RANGE = 40000, 16384
RENAME, NO_OVERWRITE, OVERWRITE = 0, 1, 2
READ_ALL = """
    const found = {};
    const container = service.getContainerClient('moved');
    for await (const b of container.listBlobsFlat({ includeUncommitedBlobs: false })) {
        const data = await container.getBlobClient(b.name).downloadToBuffer();
        const hash = require('crypto').createHash('md5').update(data).digest('hex');
        found[b.name] = { hash, length: data.length, type: b.properties.blobType };
    }
    return found;"""
SEED_OLD = """
    const container = service.getContainerClient('moved');
    await container.createIfNotExists();
    for (let i = 0; i < Number(args[0]); i++)
        if (i % 4 === 1)
            await container.getBlockBlobClient('dir/blob-' + i + '.bin').upload('old ' + i, ('old ' + i).length);
    return null;"""


def length_of(i: int) -> int:
    return 0 if i % 7 == 0 else BLOCK * 6 + i if i % 5 == 0 else 512 * 300 if i % 11 == 0 else i * 37


def is_page(i: int) -> bool:
    return i % 7 != 0 and i % 5 != 0 and i % 11 == 0


PERIOD = 251 * 256
PLAIN = bytes((k * 7 + k // 251) & 255 for k in range(PERIOD))


def pattern(n: int, shift: int) -> bytes:
    """(k * 7 + k // 251 + shift) modulo 256 of every k below n."""
    table = bytes((v + shift) & 255 for v in range(256))
    return (PLAIN.translate(table) * (n // PERIOD + 1))[:n]


def content_of(i: int) -> bytes:
    data = bytearray(pattern(length_of(i), i * 13))
    if is_page(i):
        for k in range(4096, len(data), 3 * 4096):
            data[k:k + 4096] = bytes(len(data[k:k + 4096]))
        for k in range(2 * PAGE_RANGE, len(data), 3 * PAGE_RANGE):
            data[k:k + PAGE_RANGE] = bytes(len(data[k:k + PAGE_RANGE]))
    return bytes(data)


HASHES: dict[int, str] = {}


def hash_of(i: int) -> str:
    if i not in HASHES:
        HASHES[i] = hashlib.md5(content_of(i)).hexdigest()
    return HASHES[i]


def expected(count: int, old: bool) -> dict:
    """Name -> (hash, type) of every blob that must be there, and no other."""
    want = {}
    for i in range(count):
        name, new = f"dir/blob-{i}.bin", (hash_of(i), "PageBlob" if is_page(i) else "BlockBlob")
        if old and i % 4 == 1 and i % 3 != OVERWRITE:
            want[name] = (hashlib.md5(f"old {i}".encode()).hexdigest(), "BlockBlob")
            if i % 3 == RENAME:
                want[f"dir/blob-{i} (2).bin"] = new
        else:
            want[name] = new
    return want


def check(server, count: int, old: bool) -> None:
    found = {name: (b["hash"], b["type"]) for name, b in server.client(READ_ALL).items()}
    want = expected(count, old)
    wrong = sorted(name for name in want.keys() | found.keys() if want.get(name) != found.get(name))
    assert not wrong, f"{len(wrong)} blobs are wrong, missing or too many: {wrong[:10]}"


class Worker:
    def __init__(self, program, port, server, folder):
        credential = pathlib.Path(folder) / "credential"
        credential.write_text(server.key)
        credential.chmod(0o600)
        self.program, self.folder = program, folder
        self.environment = dict(os.environ, BERTH_ENDPOINT=f"http://127.0.0.1:{port}/{server.account}",
                                BERTH_ACCOUNT=server.account, BERTH_CREDENTIAL_KIND="key",
                                BERTH_CREDENTIAL_FILE=str(credential))

    def start(self, count, *more) -> subprocess.Popen:
        return subprocess.Popen([self.program, self.folder, str(count), *more], env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, count, *more) -> tuple[int, list, str]:
        worker = self.start(count, *more)
        out, err = worker.communicate(timeout=600)
        print(err.strip()[-1500:])
        return worker.returncode, [line.split(" ", 3) for line in out.splitlines()], err


def clean_run(program) -> None:
    print("--- a clean run, the container is made; a second one sends nothing")
    with emptied() as server, tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        worker = Worker(program, server.port, server, folder)
        code, lines, _ = worker.run(150, "readback")
        assert code == 0 and len(lines) == 150 and all(line[1:3] == ["Completed", "Created"] for line in lines), lines
        check(server, 150, False)
        code, lines, err = worker.run(150)
        assert code == 0 and len(lines) == 150, lines
        assert " requests 0 " in err, "finished blobs were asked for again"


def dispositions(program) -> None:
    print("--- existing blobs: renamed, kept, replaced; one is leased by somebody else")
    with emptied() as server, tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, "100")
        server.client("""await service.getContainerClient('moved').getBlobClient('dir/blob-17.bin')
            .getBlobLeaseClient().acquireLease(-1); return null;""")
        worker = Worker(program, server.port, server, folder)
        code, lines, _ = worker.run(100)
        by_index = {int(line[0]): line[1:] for line in lines}
        assert code == 1 and by_index[17][0] == "LeasePresent", by_index[17]
        for i, (status, disposition, name) in by_index.items():
            if i == 17:
                continue
            existed = i % 4 == 1
            wanted = ["Renamed", "Skipped", "Overwritten"][i % 3] if existed else "Created"
            assert (status, disposition) == ("Completed", wanted), (i, status, disposition)
        server.client("""await service.getContainerClient('moved').getBlobClient('dir/blob-17.bin')
            .getBlobLeaseClient().breakLease(0); return null;""")
        code, lines, _ = worker.run(100)
        assert code == 0, "the blob goes through once its lease is gone"
        check(server, 100, True)


def refusals(program) -> None:
    """Each is an answer of the service's documentation ("Blob service error codes")."""
    print("--- answers that end one blob and not the others")
    cases = {1: (403, "AuthorizationPermissionMismatch", "BlobRequestForbidden"),
             2: (409, "BlobImmutableDueToPolicy", "BlobRequestFailed"),
             3: (409, "BlobArchived", "BlobRequestFailed"),
             4: (413, "RequestBodyTooLarge", "BlobRequestFailed"),
             5: (400, "InvalidBlobOrBlock", "BlobRequestFailed"),
             6: (412, "LeaseIdMissing", "LeasePresent")}
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        for i, (status, code, _) in cases.items():
            proxy.add("status", match=f"^PUT .*/blob-{i}[.]bin", status=status, code=code, times=-1)
        worker = Worker(program, proxy.port, server, folder)
        code, lines, _ = worker.run(12)
        found = {int(line[0]): line[1] for line in lines}
        assert code == 1 and len(found) == 12
        for i in range(12):
            assert found[i] == (cases[i][2] if i in cases else "Completed"), (i, found[i])
        proxy.rules.clear()
        assert worker.run(12)[0] == 0
        check(server, 12, False)


def drive_faults(program, verify: str = "local") -> None:
    print(f"--- a drive with a bad sector, wrong bits and a short file; then healed; verify = {verify}")
    with emptied() as server, tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        worker = Worker(program, server.port, server, folder)
        worker.environment["BERTH_VERIFY"] = verify
        code, lines, err = worker.run(18, "faulty")
        found = {int(line[0]): line[1] for line in lines}
        bad = {10: "IOFailed", 13: "CompletedWithErrors", 16: "CompletedWithErrors"}
        assert code == 1
        assert found == {i: bad.get(i, "Completed") for i in range(18)}, found
        # The rest of the file with the bad sector was tried, and only that block is missing.
        assert [line for line in err.splitlines() if line.startswith("range 10 ")] == ["range 10 2 IOFailed"], err
        assert "range 13 0 Corrupted" in err and "range 16 0 FileUnexpectedEnd" in err, err
        named = {int(line.split()[1]) for line in err.splitlines() if line.startswith("range ")}
        assert named == bad.keys(), f"ranges of blobs that are well are not: {named}"
        # Who does not hash lets the service find the wrong bits, of 11 and of 13, three times each.
        retries = int(err.rsplit(" retries ", 1)[1].split()[0])
        assert retries == (4 if verify == "service" else 0), f"retries {retries}, verify = {verify}"
        assert f"offset {2 * BLOCK}" in err, "the error does not name the offset"
        there = server.client(READ_ALL)
        assert not {f"dir/blob-{i}.bin" for i in bad} & there.keys(), "a blob that failed must not be there"
        code, _, err = worker.run(18)
        assert code == 0
        # Of blob 10 six blocks lay uncommitted at the service: only the missing one is sent.
        sent = int(err.split(" sent ")[1].split()[0])
        assert sent == BLOCK + length_of(13) + length_of(16), f"sent {sent} bytes"
        check(server, 18, False)


def drive_faults_seen_by_the_service(program) -> None:
    drive_faults(program, "service")


def another_station(program) -> None:
    print("--- killed, and on at a station that has no record of it")
    count = 120
    with emptied() as server, FaultProxy(server.port) as proxy:
        server.client(SEED_OLD, str(count))
        # What was there before is older than the drive, by more than clocks may differ.
        time.sleep(7)
        begun, sent = str(int(time.time() * 1e6)), []
        for stop_after in (150, 250, None, None):
            with tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
                worker = Worker(program, proxy.port, server, folder)
                worker.environment["BERTH_BEGUN_USEC"] = begun
                running, at = worker.start(count), len(proxy.seen)
                while stop_after and len(proxy.seen) - at < stop_after and running.poll() is None:
                    time.sleep(0.001)
                if stop_after:
                    running.kill()
                out, err = running.communicate(timeout=120)
                if not stop_after:
                    print(err.strip().splitlines()[-1])
                    assert running.returncode == 0 and len(out.splitlines()) == count, err
                    sent.append(int(err.split(" sent ")[1].split()[0]))
                    check(server, count, True)
        whole = sum(length_of(i) for i in range(count))
        assert sent[0] < whole * 3 / 4 and sent[1] == 0, (sent, whole)
        # Without knowing that it was begun elsewhere, dispositions hold: the test could fail.
        # (What was put a moment ago could be ours by a clock that is off.)
        time.sleep(7)
        with tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
            assert Worker(program, server.port, server, folder).run(4)[0] == 0
        names = server.client(READ_ALL).keys()
        assert "dir/blob-3 (2).bin" in names and "dir/blob-4 (2).bin" not in names, names


def leases(program) -> None:
    print("--- a blob that is replaced is leased meanwhile, and the lease is kept")
    look = """
        const blob = service.getContainerClient('moved').getBlobClient('dir/blob-5.bin');
        const p = await blob.getProperties();
        let refused = '';
        try { await blob.setMetadata({ a: 'b' }); } catch (e) { refused = e.code || e.details.errorCode; }
        return { state: p.leaseState, refused };"""
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, "6")
        worker = Worker(program, proxy.port, server, folder)
        # Of the six only blob 5 is long; at 16,000 bytes a second it takes fifteen seconds.
        worker.environment.update(BERTH_LEASE_SEC="15", BERTH_CAP="16000")
        running = worker.start(6)
        while not any("comp=block&" in line for line in proxy.seen):
            time.sleep(0.01)
        during = server.client(look)
        out, err = running.communicate(timeout=120)
        assert running.returncode == 0, err
        assert during == {"state": "leased", "refused": "LeaseIdMissing"}, during
        # Acquired, renewed every five seconds, released.
        leased = [line for line in proxy.seen if "blob-5.bin?comp=lease" in line]
        assert len(leased) >= 4, leased
        assert server.client(look) == {"state": "available", "refused": ""}
        assert "5 Completed Overwritten moved" not in out and "5 Completed Overwritten dir/blob-5.bin" in out, out


def what_is_in_the_way(program) -> None:
    print("--- foreign blocks, another container, properties that are not ours, answers of another request")
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, "0")
        server.client("""await service.getContainerClient('moved').getBlockBlobClient('dir/blob-5.bin')
                         .stageBlock(Buffer.from('block-000001').toString('base64'), 'abc', 3); return null;""")
        proxy.add("header", match="^HEAD .*blob-10[.]bin", headers={"Cache-Control": "max-age=1"}, times=-1)
        proxy.add("header", match="^PUT .*blob-6[.]bin", headers={"x-ms-client-request-id": "another"})
        worker = Worker(program, proxy.port, server, folder)
        code, lines, err = worker.run(11)
        found = {int(line[0]): line[1] for line in lines}
        assert code == 1
        assert found == {i: "BlobRequestFailed" if i in (5, 10) else "Completed" for i in range(11)}, found
        assert "uncommitted blocks with ids of another length" in err, err
        assert "another value of Cache-Control than was sent" in err, err
        assert " retries 1 " in err and proxy.hits["header"] >= 2, proxy.hits
        p = server.client("""const p = await service.getContainerClient('moved').getBlobClient('dir/blob-6.bin')
                             .getProperties(); return [p.contentType, p.cacheControl, p.metadata];""")
        assert p == ["text/x-live", "no-store", {"origin": "a drive"}], p
        server.client("""await service.getContainerClient('moved').getBlockBlobClient('dir/blob-5.bin')
                         .upload('x', 1); await service.getContainerClient('moved')
                         .getBlobClient('dir/blob-5.bin').delete(); return null;""")
        proxy.rules.clear()
        assert worker.run(11)[0] == 0
        check(server, 11, False)
    with emptied() as server, tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        worker = Worker(program, server.port, server, folder)
        worker.environment["BERTH_ONLY"] = "other"
        code, lines, err = worker.run(3)
        assert code == 1 and [line[1] for line in lines] == ["BlobRequestForbidden"] * 3, lines
        assert "ContainerSas is for the container 'other', not for 'moved'" in err, err


def page_ranges(program) -> None:
    print("--- page ranges longer than a request: their hash, what differs, CRC-64")
    pages = [hashlib.md5(pages_content_of(i)).hexdigest() for i in range(3)]

    def is_right(server) -> bool:
        found = server.client(READ_ALL)
        return [found.get(f"dir/blob-{i}.bin", {}).get("hash") for i in range(3)] == pages

    with emptied() as server, FaultProxy(server.port) as proxy:
        with tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
            worker = Worker(program, proxy.port, server, folder)
            code, lines, err = worker.run(3, "pages-faulty")
            assert code == 1 and {line[0]: line[1] for line in lines} == {
                "0": "Completed", "1": "CompletedWithErrors", "2": "Completed"}, lines
            assert all(f"range 1 {k} Corrupted" in err for k in range(3)) and "range 1 3" not in err, err
            at = len(proxy.seen)
            assert worker.run(3, "pages")[0] == 0 and is_right(server)
            assert sum("blob-1.bin?comp=page" in line and line.startswith("PUT") for line in proxy.seen[at:]) == 3
    with emptied() as server, FaultProxy(server.port) as proxy:
        # Killed in the middle, and on without a record: ranges are compared, only what is missing is sent.
        begun = str(int(time.time() * 1e6))
        for n in (4, None):
            with tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
                worker = Worker(program, proxy.port, server, folder)
                worker.environment["BERTH_BEGUN_USEC"] = begun
                running, at = worker.start(3, "pages"), len(proxy.seen)

                def n_written() -> int:
                    return sum("comp=page" in line and line.startswith("PUT") for line in proxy.seen[at:])

                while n and n_written() < n and running.poll() is None:
                    time.sleep(0.001)
                if n:
                    running.kill()
                out, err = running.communicate(timeout=60)
        print(err.strip().splitlines()[-1])
        assert running.returncode == 0 and is_right(server), err
        assert "(2)" not in out and n_written() <= 12 - 3, (n_written(), out)


def pages_content_of(i: int) -> bytes:
    n = 10 << 20
    data = bytearray(pattern(n, i * 13))
    for k in range(4096, n, 3 * 4096):
        data[k:k + 4096] = bytes(len(data[k:k + 4096]))
    return bytes(data)


def long_content_of(i: int) -> bytes:
    """As transfer-live.c makes long blobs."""
    step, blocks, different = [(17 << 20, 4, 3), (20 << 20, 1, 2), (BLOCK, 8, 2)][i % 3]
    return b"".join(pattern(step, block % different * 5 + i * 13) for block in range(blocks))


def check_long(server, indices) -> None:
    found = server.client(READ_ALL)
    want = {f"dir/blob-{i}.bin": hashlib.md5(long_content_of(i)).hexdigest() for i in indices}
    assert {name: b["hash"] for name, b in found.items()} == want, found


def long_blocks(program) -> None:
    print("--- blocks too long to be held: faults of the network and of the drive, repetitions, readback")
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, "0")
        proxy.add("reset", match="^PUT .*blob-0.*comp=block&", skip=1)
        proxy.add("flip", match="^PUT .*blob-0.*comp=block&", skip=2)
        proxy.add("lose", match="^PUT .*blob-1[.]bin$")
        proxy.add("status", match="^PUT .*blob-1[.]bin$", skip=1, status=503, code="ServerBusy")
        worker = Worker(program, proxy.port, server, folder)
        code, lines, err = worker.run(3, "long")
        assert code == 0 and [line[1] for line in lines] == ["Completed"] * 3, lines
        check_long(server, range(3))
        # Three contents of blob 0, two of blob 2; a reset and a flipped bit cost a request each.
        blocks = [line.split("blockid=")[1] for line in proxy.seen if "comp=block&" in line]
        assert len(blocks) == 3 + 2 + 2 and len(set(blocks)) == 3 + 2, blocks
        assert int(err.split(" peak ")[1].split()[0]) <= 8 << 20, "more than the budget was held"
        # Repetitions are not sent; blob 1 was there when it was asked for again after the lost answer.
        assert int(err.split(" sent ")[1].split()[0]) == (3 * 17 << 20) + 2 * BLOCK
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        worker = Worker(program, proxy.port, server, folder)
        code, lines, err = worker.run(4, "long-faulty")
        found = {int(line[0]): line[1] for line in lines}
        assert code == 1, code
        assert found == {0: "Completed", 1: "CompletedWithErrors", 2: "Completed", 3: "IOFailed"}, found
        assert "range 1 0 Corrupted" in err and "range 3 1 IOFailed" in err, err
        check_long(server, [0, 2])
        # The healed drive sends what is missing, and what arrives is read back.
        code, lines, err = worker.run(4, "long")
        assert code == 0, lines
        check_long(server, range(4))
        assert int(err.split(" sent ")[1].split()[0]) <= (20 << 20) + 3 * (17 << 20)
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        worker = Worker(program, proxy.port, server, folder)
        running = worker.start(4, "long")
        while len(proxy.seen) < 6 and running.poll() is None:
            time.sleep(0.002)
        running.kill()
        running.communicate(timeout=60)
        assert worker.run(4, "long")[0] == 0
        check_long(server, range(4))


def credentials(program) -> None:
    print("--- a refused credential is a pause: clear status, hardly a request, and on with a new one")
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, "0")
        worker = Worker(program, proxy.port, server, folder)
        worker.environment["BERTH_REPORT_USEC"] = "100000"
        file = pathlib.Path(folder) / "credential"

        def until(line_begins: str) -> None:
            for line in running.stderr:
                if line.startswith(line_begins):
                    return
            raise AssertionError(f"no line '{line_begins}'")

        # Expired in the middle: the proxy answers as the service does, until the file has another.
        running = worker.start(150)
        while len(proxy.seen) < 60:
            time.sleep(0.002)
        proxy.add("status", times=-1, status=401, code="InvalidAuthenticationInfo",
                  headers={"WWW-Authenticate": 'Bearer authorization_uri="https://login.example/"'})
        until("report paused: credentials refused for 1 s")
        at = len(proxy.seen)
        until("report paused: credentials refused for 3 s")
        assert len(proxy.seen) - at <= 8, "a pause sends hardly anything"
        file.write_text(base64.b64encode(b"another key that is wrong").decode())
        until("report paused: credentials refused for 1 s")
        file.write_text(server.key)
        # Only once it was taken: of a wrong key the emulator, unlike the service, says that it may not.
        until("report paused: credentials refused for 0 s")
        proxy.rules.clear()
        out, err = running.communicate(timeout=120)
        assert running.returncode == 0 and len(out.splitlines()) == 150, err[-2000:]
        assert "paused" not in err.splitlines()[-2], err[-500:]
        check(server, 150, False)
    print("--- the service is well again without a new credential")
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, "0")
        worker = Worker(program, proxy.port, server, folder)
        worker.environment["BERTH_REPORT_USEC"] = "100000"
        proxy.add("status", times=-1, status=403, code="AuthenticationFailed")
        running = worker.start(150)
        until("report paused: credentials refused for 2 s")
        proxy.rules.clear()
        out, err = running.communicate(timeout=120)
        assert running.returncode == 0 and len(out.splitlines()) == 150, err[-2000:]
        check(server, 150, False)


def bandwidth_cap(program) -> None:
    print("--- a cap holds, is named as what is waited for, and can be lifted while it runs")
    with emptied() as server, tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        worker = Worker(program, server.port, server, folder)
        worker.environment.update(BERTH_REPORT_USEC="200000", BERTH_CAP="100000")
        running = worker.start(40)
        reports = [running.stderr.readline() for _ in range(8)]
        rates = [int(line.split("; ")[1].split()[0]) for line in reports if line.startswith("report ")]
        assert len(rates) == 8 and sum(rates[1:]) / 7 <= 150000, reports
        assert sum("waiting for throttled" in line for line in reports) >= 4, reports
        running.kill()
        running.communicate()
        worker.environment["BERTH_CAP_THEN"] = "1000000000"
        assert worker.run(40)[0] == 0
        check(server, 40, False)


def add_random_faults(proxy, dice) -> None:
    for _ in range(30):
        do = dice.choice(["reset", "lose", "truncate", "flip", "twice", "status", "status", "stall"])
        rule = {"match": "^(PUT|GET|HEAD) .*moved", "skip": dice.randrange(400)}
        if do == "status":
            rule.update(dice.choice([
                {"status": 503, "code": "ServerBusy", "headers": {"Retry-After": "1"}},
                {"status": 500, "code": "OperationTimedOut"}, {"status": 500, "code": "InternalError"},
                {"status": 403, "code": "AuthenticationFailed"}, {"status": 401, "code": ""}]))
        if do == "twice":
            rule["match"] = "^PUT .*moved"
        if do == "flip":
            # The emulator, unlike the service, does not check the hash of a block list.
            rule["match"] = "^PUT (?!.*comp=blocklist).*moved"
        if do == "stall":
            rule["seconds"] = 4.0
        proxy.add(do, **rule)


def faults_and_kills(program, kills: int) -> None:
    seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 32)))
    print(f"--- faults, {kills} kills; BERTH_SEED={seed}")
    dice, count = random.Random(seed), 200
    with emptied() as server, FaultProxy(server.port) as proxy, \
            tempfile.TemporaryDirectory(prefix="berth-transfer-") as folder:
        server.client(SEED_OLD, str(count))
        worker = Worker(program, proxy.port, server, folder)
        for kill in range(kills):
            add_random_faults(proxy, dice)
            running = worker.start(count)
            at = len(proxy.seen) + dice.randrange(1, 120)
            while len(proxy.seen) < at and running.poll() is None:
                time.sleep(0.002)
            running.send_signal(signal.SIGKILL if kill % 4 != 3 else signal.SIGTERM)
            running.communicate(timeout=60)
            print(f"kill {kill} after {len(proxy.seen)} requests: {running.returncode}")
            assert running.returncode in (-signal.SIGKILL, 3, 0), running.returncode
        add_random_faults(proxy, dice)
        code, lines, err = worker.run(count)
        print(f"faults made: {proxy.hits}")
        assert code == 0 and len(lines) == count, f"seed {seed}: exit {code}"
        check(server, count, True)


def main() -> None:
    program, soak = sys.argv[1], "--soak" in sys.argv
    only = [a for a in sys.argv[2:] if not a.startswith("--")]
    try:
        for part in (clean_run, dispositions, refusals, drive_faults, drive_faults_seen_by_the_service,
                     long_blocks, credentials, bandwidth_cap, another_station, leases, what_is_in_the_way,
                     page_ranges):
            if not only or part.__name__ in only:
                part(program)
        if "faults_and_kills" in only or not only and "--no-kills" not in sys.argv:
            faults_and_kills(program, 50 if soak else 5)
    except Missing as reason:
        print(f"skipped: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
