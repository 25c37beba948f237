#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the network and answers of the service, one kind at a time, between the engine and the emulator.

Usage: transfer-faults.py PROGRAM PRELOAD_DNS PRELOAD_DRIVE [--soak] [PART...]
Each kind ends in a complete drive or in the documented status of the blobs it hit, and never in a blob under
another name. The answers that the emulator cannot give are named after "Blob service error codes" and "Status and
error codes" of the service's documentation. Random faults with kill -9 are in transfer-live.py.
"""
import contextlib
import importlib.util
import pathlib
import sys
import tempfile
import threading
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from azurite import Missing, emptied  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402

specification = importlib.util.spec_from_file_location("transfer_live", HERE / "transfer-live.py")
live = importlib.util.module_from_spec(specification)
specification.loader.exec_module(live)

COUNT = 60
FORBIDDEN, REFUSED, LEASED, CHANGED = "BlobRequestForbidden", "BlobRequestFailed", "LeasePresent", "BlobUnexpectedChange"
# Blob number -> status, error code, headers, which requests, what the blob's status must be.
PUT_ANY, PUT_BLOCK, PUT_LIST = "", "comp=block&", "comp=blocklist"
ANSWERS = [
    (1, 403, "AuthorizationPermissionMismatch", PUT_ANY, FORBIDDEN),
    (2, 403, "AuthorizationFailure", PUT_ANY, FORBIDDEN),
    (3, 403, "InsufficientAccountPermissions", PUT_ANY, FORBIDDEN),
    (4, 403, "AccountIsDisabled", PUT_ANY, FORBIDDEN),
    (5, 400, "InvalidBlockList", PUT_LIST, REFUSED),
    (6, 404, "ResourceNotFound", PUT_ANY, REFUSED),
    (8, 409, "BlobImmutableDueToPolicy", PUT_ANY, REFUSED),
    (9, 409, "BlobArchived", PUT_ANY, REFUSED),
    (10, 413, "RequestBodyTooLarge", PUT_BLOCK, REFUSED),
    (12, 409, "BlobBeingRehydrated", PUT_ANY, REFUSED),
    (13, 409, "InvalidBlobType", PUT_ANY, REFUSED),
    (15, 403, "AuthorizationPermissionMismatch", PUT_BLOCK, FORBIDDEN),
    (16, 412, "LeaseIdMissing", PUT_ANY, LEASED),
    (17, 409, "LeaseAlreadyPresent", PUT_ANY, LEASED),
    (18, 412, "LeaseLost", PUT_ANY, LEASED),
    (19, 409, "LeaseIdMismatchWithBlobOperation", PUT_ANY, LEASED),
    (20, 409, "BlobImmutableDueToLegalHold", PUT_LIST, REFUSED),
    (22, 400, "InvalidHeaderValue", PUT_ANY, REFUSED),
    (23, 412, "ConditionNotMet", PUT_ANY, CHANGED),
    (24, 400, "InvalidMetadata", PUT_ANY, REFUSED),
    (25, 413, "BlockCountExceedsLimit", PUT_LIST, REFUSED),
    (26, 409, "UnauthorizedBlobOverwrite", PUT_ANY, REFUSED),
]
# What heals: status, code, headers, how often.
PASSING = [
    (503, "ServerBusy", {"Retry-After": "1"}, 6),
    (503, "ServerBusy", {}, 6),
    (500, "OperationTimedOut", {}, 6),
    (500, "InternalError", {}, 6),
    (502, "", {}, 3),
    (504, "", {}, 3),
    (429, "TooManyRequests", {"Retry-After": "1"}, 3),
    (408, "", {}, 3),
    (409, "ContainerBeingDeleted", {}, 3),
    (403, "AuthenticationFailed", {}, 1),
    (401, "NoAuthenticationInformation",
     {"WWW-Authenticate": 'Bearer authorization_uri="https://login.example/" resource_id="https://storage.example"'}, 1),
    (400, "Md5Mismatch", {}, 2),
    (400, "RequestBodyIncomplete", {}, 2),
]


class Place:
    """An emulator, the proxy before it, and a worker with a folder of its own."""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.server = stack.enter_context(emptied())
            self.proxy = stack.enter_context(FaultProxy(self.server.port))
            self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="berth-faults-"))
            self.exit = stack.pop_all()
        self.server.client(live.SEED_OLD, "0")
        self.worker = live.Worker(self.program, self.proxy.port, self.server, self.folder)
        return self

    def __exit__(self, *_):
        self.exit.close()

    def must_complete(self, what: str) -> None:
        code, lines, err = self.worker.run(COUNT)
        assert code == 0 and len(lines) == COUNT, f"{what}: exit {code}"
        assert all(line[2] == "Created" for line in lines), f"{what}: a blob went under another name"
        live.check(self.server, COUNT, False)


def network(program, _) -> None:
    """Each kind of fault on every fifth request and on the commits."""
    for do in ("reset", "lose", "truncate", "flip", "twice", "stall"):
        print(f"--- {do}")
        with Place(program) as place:
            match = {"twice": "^PUT .*moved", "flip": "^PUT (?!.*comp=blocklist).*moved"}.get(do, "^(PUT|GET|HEAD) .*moved")
            for skip in range(0, 100, 25 if do == "stall" else 5):
                place.proxy.add(do, match=match, skip=skip, seconds=4.0)
            if do not in ("flip", "stall"):
                place.proxy.add(do, match="^PUT .*comp=blocklist", times=3)
            place.must_complete(do)
            assert place.proxy.hits[do] >= 3, place.proxy.hits
            if do == "flip":
                mismatches = place.proxy.hits["flip"]
                assert mismatches > 0


def repeated_answers(program, _) -> None:
    print("--- answers that come twice on their connection: none is taken for the next request's")
    for echo in (True, False):
        with Place(program) as place:
            place.proxy.echo = echo
            for skip in range(0, 100, 8):
                place.proxy.add("repeat", match="moved", skip=skip, seconds=0.002)
            place.must_complete("repeat")
            assert place.proxy.hits["repeat"] >= 10, place.proxy.hits


def pages_once_more(program, _) -> None:
    print("--- a page blob is refused in the middle, and made and written once more from its start")
    with Place(program) as place:
        for i in (11, 44):
            place.proxy.add("status", match=f"^PUT .*/blob-{i}[.]bin.*comp=page", skip=6, status=412, code="ConditionNotMet")
        code, lines, err = place.worker.run(COUNT)
        assert code == 0 and len(lines) == COUNT and all(line[1] == "Completed" for line in lines), lines
        assert place.proxy.hits["status"] == 2, place.proxy.hits
        live.check(place.server, COUNT, False)


def passing_answers(program, _) -> None:
    for status, code, headers, times in PASSING:
        print(f"--- {status} {code} {headers}")
        with Place(program) as place:
            place.proxy.add("status", match="^PUT .*moved", skip=3, times=times, status=status, code=code, headers=headers)
            place.must_complete(f"{status} {code}")
            assert place.proxy.hits["status"] == times
            if "Retry-After" in headers:
                check_waited(place.proxy, float(headers["Retry-After"]))


def check_waited(proxy, seconds: float) -> None:
    """What was refused with Retry-After comes again no sooner."""
    waits = [next(at for line, at in zip(proxy.seen[i + 1:], proxy.seen_at[i + 1:]) if line == proxy.seen[i]) - proxy.seen_at[i]
             for i in proxy.hit_at]
    assert waits and min(waits) >= seconds, waits


def lasting_answers(program, _) -> None:
    print("--- answers that end one blob and let the others go on; healed, the drive completes")
    with Place(program) as place:
        for i, status, code, comp, _ in ANSWERS:
            place.proxy.add("status", match=f"^PUT .*/blob-{i}[.]bin.*{comp}", times=-1, status=status, code=code)
        code, lines, err = place.worker.run(COUNT)
        found = {int(line[0]): line[1] for line in lines}
        want = {i: status for i, _, _, _, status in ANSWERS}
        assert code == 1 and found == {i: want.get(i, "Completed") for i in range(COUNT)}, \
            {i: (found.get(i), want.get(i, "Completed")) for i in range(COUNT) if found.get(i) != want.get(i, "Completed")}
        for i, status, name, _, _ in ANSWERS:
            if name not in ("ConditionNotMet", "ResourceNotFound"):
                assert f"{status} {name}" in err, f"the log does not name {name}"
        place.proxy.rules.clear()
        assert place.worker.run(COUNT)[0] == 0
        live.check(place.server, COUNT, False)


def forbidden_in_the_middle(program, _) -> None:
    print("--- access is taken away in the middle, for all, and given back for the next run")
    with Place(program) as place:
        place.proxy.add("status", match="^PUT .*moved", skip=40, times=-1, status=403, code="AuthorizationPermissionMismatch")
        code, lines, _ = place.worker.run(COUNT)
        n = sum(line[1] == FORBIDDEN for line in lines)
        assert code == 1 and len(lines) == COUNT and 0 < n < COUNT, n
        place.proxy.rules.clear()
        place.must_complete("after 403")


def unflushed(program, preloads) -> None:
    print("--- a station whose disk does not take what is intended: nothing is sent before it has")
    with Place(program) as place:
        place.worker.environment.update(LD_PRELOAD=preloads.drive, BERTH_SYNC_FAULT="eio")
        code, lines, _ = place.worker.run(COUNT)
        sent = [line for line in place.proxy.seen if line.startswith("PUT ")]
        assert code in (1, 2) and not any(line[1] == "Completed" for line in lines) and not sent, (code, lines, sent[:3])
        del place.worker.environment["BERTH_SYNC_FAULT"]
        place.must_complete("once it does")


def names_gone(program, preloads) -> None:
    seconds = 60 if "--soak" in sys.argv else 6
    print(f"--- no name can be resolved for {seconds} seconds")
    with Place(program) as place:
        gone = pathlib.Path(place.folder) / "gone"
        place.worker.environment.update(
            LD_PRELOAD=preloads.dns, BERTH_NAMES_GONE=str(gone), BERTH_REPORT_USEC="200000",
            BERTH_ENDPOINT=place.worker.environment["BERTH_ENDPOINT"].replace("127.0.0.1", "localhost"))
        running = place.worker.start(COUNT)
        while len(place.proxy.seen) < 30:
            time.sleep(0.002)
        gone.touch()
        # What is connected would need no names.
        place.proxy.add("reset", times=-1)
        threading.Timer(seconds, lambda: (gone.unlink(), place.proxy.rules.clear())).start()
        out, err = running.communicate(timeout=120 + seconds)
        retries = int(err.rsplit(" retries ", 1)[1].split()[0])
        print(err.strip().splitlines()[-1])
        assert running.returncode == 0 and len(out.splitlines()) == COUNT and retries > 10, err[-2000:]
        assert "waiting for network" in err, "the report does not say what is waited for"
        live.check(place.server, COUNT, False)


def main() -> None:
    program, preloads = sys.argv[1], types.SimpleNamespace(dns=sys.argv[2], drive=sys.argv[3])
    only = [a for a in sys.argv[4:] if not a.startswith("--")]
    try:
        for part in (network, repeated_answers, pages_once_more, passing_answers, lasting_answers, forbidden_in_the_middle, unflushed, names_gone):
            if not only or part.__name__ in only:
                part(program, preloads)
        if "--soak" in sys.argv:
            live.faults_and_kills(program, 50)
    except Missing as reason:
        print(f"skipped: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
