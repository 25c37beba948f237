#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Corners of the transfer engine: somebody else writes in between, leases end, answers do not fit what was sent.

Usage: transfer-corners.py PROGRAM [--others | PART...]     (transfer-live; skips with 77 where the emulator cannot be had)
--others: all but the leases, which take their time.
Of transfer-live's blobs every fifth has blocks, every eleventh pages, the others are one Put Blob; i % 3 is the
disposition; i % 4 == 1 are there before.
"""
import contextlib
import importlib.util
import pathlib
import re
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from azurite import Missing, emptied  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402

specification = importlib.util.spec_from_file_location("transfer_live", HERE / "transfer-live.py")
live = importlib.util.module_from_spec(specification)
specification.loader.exec_module(live)

PUT_BLOB = """await service.getContainerClient('moved').getBlockBlobClient(args[0])
    .upload('foreign', 7); return null;"""
PUT_PAGES = """const blob = service.getContainerClient('moved').getPageBlobClient(args[0]);
    await blob.create(Number(args[1])); await blob.uploadPages(Buffer.alloc(512, 'f'), Number(args[2] || 0), 512);
    return null;"""
BLOCK_LIST, BLOCK, LEASE = "[?]comp=blocklist", "[?]comp=block&", "[?]comp=lease"
WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="


def name_of(i: int) -> str:
    return f"dir/blob-{i}.bin"


class Place:
    """An emptied emulator, the proxy before it, and a worker for some of the blobs."""

    def __init__(self, program: str, *blobs: int, old: int = 0):
        self.program, self.blobs, self.old = program, blobs, old

    def __enter__(self) -> "Place":
        self.exits = contextlib.ExitStack()
        self.server = self.exits.enter_context(emptied())
        self.proxy = self.exits.enter_context(FaultProxy(self.server.port))
        self.folder = self.exits.enter_context(tempfile.TemporaryDirectory(prefix="berth-corners-"))
        self.server.client(live.SEED_OLD, str(self.old))
        self.worker = live.Worker(self.program, self.proxy.port, self.server, self.folder)
        self.worker.environment["BERTH_BLOBS"] = " ".join(str(i) for i in self.blobs)
        return self

    def __exit__(self, *_) -> None:
        self.exits.close()

    def run(self, *more: str) -> dict:
        """Number -> (status, disposition, name)."""
        self.code, lines, self.err = self.worker.run(max(self.blobs) + 1, *more)
        return {int(line[0]): tuple(line[1:]) for line in lines}

    def asked(self, i: int, what: str) -> list:
        return [line for line in self.proxy.seen if re.search(what.replace("BLOB", f"blob-{i}[.]bin"), line)]

    def hashes(self) -> dict:
        return {name: b["hash"] for name, b in self.server.client(live.READ_ALL).items()}

    def meddle(self, match: str, script: str, *args: str, **rule) -> None:
        """Before a request goes on, the official client runs a script."""
        self.proxy.add("call", match=match, call=lambda: self.server.client(script, *args), **rule)


def taken_meanwhile(program) -> None:
    print("--- a name that was free when it was looked at is somebody else's at the commit")
    blobs = {1: "no-overwrite", 2: "overwrite", 3: "rename", 10: "no-overwrite", 15: "rename", 20: "overwrite",
             22: "no-overwrite", 33: "rename", 44: "overwrite"}
    with Place(program, *blobs) as place:
        for i in blobs:
            if live.is_page(i):
                place.meddle(f"^PUT .*/blob-{i}[.]bin$", PUT_PAGES, name_of(i), str(live.length_of(i)))
            else:
                place.meddle(f"^PUT .*/blob-{i}[.]bin" + (BLOCK_LIST if i % 5 == 0 else "$"), PUT_BLOB, name_of(i))
        found = place.run()
        before = {"no-overwrite": ("Completed", "Skipped"), "rename": ("Completed", "Renamed"),
                  "overwrite": ("Completed", "Overwritten")}
        assert {i: f[:2] for i, f in found.items()} == {i: before[d] for i, d in blobs.items()}, found
        there = place.hashes()
        for i, disposition in blobs.items():
            ours = {"overwrite": name_of(i), "rename": f"dir/blob-{i} (2).bin"}.get(disposition)
            assert not ours or there.pop(ours) == live.hash_of(i), (i, there)
            if disposition != "overwrite":
                assert there.pop(name_of(i)) != live.hash_of(i), f"{name_of(i)} is not the other one's any more"
        assert not there, there


def made_before_the_restart(program) -> None:
    print("--- a page blob: what was made after the intent is ours only if we made it")
    with Place(program, 33) as place:
        place.proxy.add("stall", match="^PUT .*blob-33[.]bin$", seconds=60.0)
        running = place.worker.start(34)
        while not place.proxy.hits:
            time.sleep(0.005)
        running.kill()
        running.communicate()
        place.server.client(PUT_PAGES, name_of(33), str(live.length_of(33)))
        foreign = place.hashes()[name_of(33)]
        found = place.run()
        assert found[33] == ("Completed", "Renamed", "dir/blob-33 (2).bin"), found
        assert place.hashes() == {name_of(33): foreign, "dir/blob-33 (2).bin": live.hash_of(33)}
    with Place(program, 33) as place:
        place.proxy.add("lose", match="^PUT .*blob-33[.]bin$")
        place.proxy.add("stall", match="^PUT .*blob-33[.]bin$", seconds=60.0)
        running = place.worker.start(34)
        while len(place.proxy.hits) < 2:
            time.sleep(0.005)
        running.kill()
        running.communicate()
        found = place.run()
        assert found[33] == ("Completed", "Created", name_of(33)), found
        assert place.hashes() == {name_of(33): live.hash_of(33)}


def zero_pages(program) -> None:
    print("--- zero ranges are not sent, unless something is there")
    with Place(program, 33) as place:
        n_ranges, n_zero = 10, 3
        place.proxy.add("stall", match="^PUT .*comp=page", skip=2, seconds=60.0, times=-1)
        running = place.worker.start(34)
        while len(place.asked(33, "^PUT .*BLOB.*comp=page")) < 5:
            time.sleep(0.005)
        time.sleep(0.2)
        running.kill()
        running.communicate()
        place.proxy.rules.clear()
        place.server.client("""await service.getContainerClient('moved').getPageBlobClient(args[0])
            .uploadPages(Buffer.alloc(512, 'f'), Number(args[1]), 512); return null;""", name_of(33), str(5 * live.PAGE_RANGE))
        at = len(place.proxy.seen)
        found = place.run()
        assert found[33] == ("Completed", "Created", name_of(33)), found
        assert place.hashes() == {name_of(33): live.hash_of(33)}, "what was there is still there"
        written = sum("comp=page" in line and line.startswith("PUT") for line in place.proxy.seen[at:])
        assert written <= n_ranges - n_zero - 2 + 1, written
    with Place(program, 33) as place:
        assert place.run()[33][0] == "Completed"
        assert len(place.asked(33, "^PUT .*BLOB.*comp=page")) == n_ranges - n_zero, place.proxy.seen


def leases(program) -> None:
    print("--- a lease is renewed while a whole blob waits, and taken again when it was lost")
    with Place(program, 5, 17, old=20) as place:
        place.worker.environment["BERTH_LEASE_SEC"] = "15"
        wait = {"status": 503, "code": "ServerBusy", "headers": {"Retry-After": "6"}}
        place.proxy.add("status", match="^PUT .*blob-5[.]bin" + BLOCK_LIST, **wait)
        place.proxy.add("status", match="^PUT .*blob-17[.]bin$", skip=1, **wait)
        found = place.run()
        assert {i: f[:2] for i, f in found.items()} == {i: ("Completed", "Overwritten") for i in (5, 17)}, found
        for i, what, n_before in ((5, BLOCK_LIST, 0), (17, "$", 1)):
            assert len(place.asked(i, "^PUT .*/BLOB" + LEASE)) >= 3, f"blob {i}: {place.proxy.seen}"
            new_attempt(place, i, what, n_before, 6.0)
    with Place(program, 5, 17, old=20) as place:
        lost = """await service.getContainerClient('moved').getBlobClient(args[0]).getBlobLeaseClient().breakLease(0);
            return null;"""
        place.meddle("^PUT .*blob-5[.]bin" + BLOCK, lost, name_of(5), skip=3)
        place.meddle("^PUT .*blob-17[.]bin$", lost, name_of(17), skip=1)
        found = place.run()
        assert {i: f[:2] for i, f in found.items()} == {i: ("Completed", "Overwritten") for i in (5, 17)}, found
        assert place.hashes()[name_of(5)] == live.hash_of(5) and place.hashes()[name_of(17)] == live.hash_of(17)
    with Place(program, 5, old=20) as place:
        place.meddle("^PUT .*blob-5[.]bin" + BLOCK, """
            const blob = service.getContainerClient('moved').getBlobClient(args[0]);
            await blob.getBlobLeaseClient().breakLease(0); await blob.getBlobLeaseClient().acquireLease(-1);
            return null;""", name_of(5), skip=3)
        assert place.run()[5][0] == "LeasePresent", "a lease of somebody else is left alone"
        place.server.client("""await service.getContainerClient('moved').getBlobClient(args[0])
            .getBlobLeaseClient().breakLease(0); return null;""", name_of(5))
        assert place.run()[5][:2] == ("Completed", "Overwritten")


def header(head: str, name: str) -> str:
    return re.search(rf"\r\n{name}: *([^\r]*)\r\n", head, re.IGNORECASE).group(1)


def new_attempt(place: Place, i: int, what: str, n_before: int, seconds: float) -> None:
    """Two requests are attempts of one, the second as late as was asked for, and made anew."""
    attempts = [(when, head) for when, head in zip(place.proxy.seen_at, place.proxy.heads)
                if re.search(f"^PUT [^ ]*blob-{i}[.]bin" + what.replace("$", " "), head)]
    (first_at, first), (second_at, second) = attempts[n_before:n_before + 2]
    assert second_at - first_at >= seconds, f"Retry-After: {second_at - first_at:.1f} s instead of {seconds}"
    for name in ("x-ms-date", "Authorization", "x-ms-client-request-id"):
        assert header(first, name) != header(second, name), f"{name} was not made anew"


def three_looks(program) -> None:
    print("--- a blob to be replaced that changes again and again is looked at three more times")
    with Place(program, 5, 17, old=20) as place:
        again = """await service.getContainerClient('moved').getBlockBlobClient(args[0])
            .upload('changed', 7); return null;"""
        for i in (5, 17):
            place.meddle(f"^PUT .*blob-{i}[.]bin" + LEASE, again, name_of(i), skip=0, times=1)
        found = place.run()
        assert {i: f[:2] for i, f in found.items()} == {i: ("Completed", "Overwritten") for i in (5, 17)}, found
        assert len(place.asked(5, "^PUT .*BLOB" + BLOCK_LIST)) == 2, "the commit does not say which one it replaces"
    with Place(program, 5, 17, old=20) as place:
        for i, commit in ((5, BLOCK_LIST), (17, "$")):
            place.proxy.add("status", match=f"^PUT .*blob-{i}[.]bin" + commit, status=412, code="ConditionNotMet", times=-1)
        found = place.run()
        assert {i: f[0] for i, f in found.items()} == {5: "BlobUnexpectedChange", 17: "BlobUnexpectedChange"}, found
        assert len(place.asked(5, "^PUT .*BLOB" + BLOCK_LIST)) == 4 == len(place.asked(17, "^PUT .*BLOB$")), place.proxy.seen


def answers_that_do_not_fit(program) -> None:
    print("--- another hash than was sent, another length, other bytes")
    with Place(program, 3, 10, 15, 20) as place:
        place.proxy.add("header", match="^PUT .*blob-3[.]bin$", headers={"Content-MD5": WRONG_MD5})
        place.proxy.add("header", match="^PUT .*blob-10[.]bin" + BLOCK, headers={"Content-MD5": WRONG_MD5}, times=-1)
        place.proxy.add("header", match="^PUT .*blob-15[.]bin" + BLOCK, headers={"Content-MD5": WRONG_MD5})
        place.proxy.add("header", match="^HEAD .*blob-20[.]bin", headers={"Content-Length": "7"}, times=-1, skip=1)
        found = place.run()
        assert {i: f[0] for i, f in found.items()} == {
            3: "Completed", 10: "BlobRequestFailed", 15: "Completed", 20: "BlobUnexpectedChange"}, found
        assert "the service answered with another hash than was sent" in place.err, place.err
        assert len(place.asked(3, "^PUT .*BLOB$")) == 2 and len(place.asked(15, "^PUT .*BLOB" + BLOCK)) == 8, place.proxy.seen
    with Place(program, 3, 15, 33) as place:
        place.proxy.add("spoil", match="^GET .*blob-(3|15|33)[.]bin$", times=-1)
        found = place.run("readback")
        assert {i: f[0] for i, f in found.items()} == {i: "BlobRequestFailed" for i in (3, 15, 33)}, found
        assert place.err.count("what was read back is not what was sent") == 3, place.err
        assert "range 15 0 Corrupted" in place.err, place.err
        place.proxy.rules.clear()
        assert all(f[:2] == ("Completed", "Created") for f in place.run("readback").values())


PARTS = (taken_meanwhile, made_before_the_restart, zero_pages, leases, three_looks, answers_that_do_not_fit)


def main() -> None:
    program, only = sys.argv[1], sys.argv[2:]
    try:
        for part in PARTS:
            if not only or part.__name__ in only or only == ["--others"] and part is not leases:
                part(program)
    except Missing as reason:
        print(f"SKIP: cannot run here: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
