# SPDX-License-Identifier: GPL-3.0-or-later
"""For the benchmarks of the API: a store that is full, and a table of how long answers take.

    fullstore.use(build)                # before service or berthd is imported
    fullstore.fill(path, jobs, events)  # of a daemon that is stopped
    table = fullstore.Table(pid)
    table.time("name", lambda: connection.request(...))
    table.print()
    sys.exit(table.verdict())
"""
import json
import os
import pathlib
import sqlite3
import statistics
import time

PROMISED_MS = 50.0
GROUPS = 50
BIG = "big"  # the subscription that has half of the jobs, in seven groups
START = int(time.time() - 86400) * 1_000_000  # of all of it: nothing is too old to be kept
DATA = json.dumps({"activity": "transferring", "blobs": 12000, "blobsSucceeded": 411, "bytes": 10**12,
                   "bytesSucceeded": 5 * 10**9, "copyStatus": "InProgress", "driveId": "SN1", "job": "job-1", "jobId": 1,
                   "percentComplete": 1, "sentence": "blobs are being copied", "state": "Transferring"}, separators=(",", ":"))
ADDRESS = json.dumps({"recipientName": "A. Tester", "streetAddress1": "1 Sample Way", "city": "Sampleton",
                      "stateOrProvince": "ST", "postalCode": "00001", "countryOrRegion": "US", "phone": "5550199",
                      "email": "ops@example.org"})
PACKAGE = '{"carrierName":"CarrierX","trackingNumber":"TRK-\' || id || \'","driveCount":3,"shipDate":"2031-04-12"}'


def use(build: pathlib.Path) -> None:
    """The libraries of the tests find everything by the environment that meson makes; here a person runs them."""
    source = pathlib.Path(__file__).resolve().parents[2]
    os.environ["BERTH_BUILD"] = str(build.resolve())
    os.environ.setdefault("BERTH_SOURCE", str(source))
    os.environ.setdefault("BERTH_SHARED", str(source.parent / "shared"))
    os.environ.setdefault("BERTH_SANITIZE", "none")


def scope_of(i: int) -> str:
    """Of job number `i`: each hundredth is the station's own."""
    if i % 100 == 0:
        return ""
    return (f"/subscriptions/{BIG}/resourceGroups/g{i % 7}" if i % 2
            else f"/subscriptions/s{i % GROUPS}/resourceGroups/g")


def insert(db, table: str, rows: str, **values) -> None:
    """As many rows as `rows` has; values are SQL in terms of its columns, the rest is 0 or NULL."""
    columns = [(c[1], "0" if c[3] and c[4] is None else c[4] or "NULL") for c in db.execute(f"PRAGMA table_info({table})")]
    unknown = set(values) - {name for name, _ in columns}
    assert not unknown, unknown
    db.execute(f"INSERT INTO {table} ({', '.join(name for name, _ in columns)}) SELECT "
               + ", ".join(str(values.get(name, usual)) for name, usual in columns) + f" FROM {rows}")


def fill(path: pathlib.Path, jobs: int, events: int, account: str = "/accounts/photos") -> float:
    """Every fifth job is Transferring, the others have ended; each has three drives, keys, addresses, and its part of the
    history. Gives the seconds it took."""
    begun = time.monotonic()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size = -200000")
    db.execute("BEGIN")
    count = "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n)"
    ended = f"iif(i % 5 = 0, 0, {START})"
    insert(db, "jobs", count.format(jobs), id="i", revision=1, name="'job-' || i", state="iif(i % 5 = 0, 3, 5)",
           scope=f"iif(i % 100 = 0, '', iif(i % 2, '/subscriptions/{BIG}/resourceGroups/g' || (i % 7), "
                 f"'/subscriptions/s' || (i % {GROUPS}) || '/resourceGroups/g'))",
           subscription=f"iif(i % 100 = 0, '', iif(i % 2, '/subscriptions/{BIG}', '/subscriptions/s' || (i % {GROUPS})))",
           account=f"'{account}'", location="'westus'", diagnostics="'waimportexport'", origin="'api'",
           tags="'{\"who\":\"attic\"}'", accept_unshipped=1, has_delivery=1, has_return=1, created_usec=START,
           shipped_usec=START, done_usec=ended, ended_usec=ended, deadline_usec="NULL")
    insert(db, "drives", "jobs, (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2)", job="id", idx="k",
           serial="'SN' || (id * 3 + k)", serial_key="'SN' || (id * 3 + k)", manifest_file="'\\DriveManifest.xml'",
           manifest_hash="'0123456789ABCDEF0123456789ABCDEF'", state="iif(id % 5 = 0, 1, 6)", activity="iif(id % 5 = 0, 2, 0)",
           received_usec=START, activity_usec=START)
    insert(db, "keys", "drives", job="job", idx="idx",
           value="CAST('122221-244442-366663-488884-611105-013574-660000-720885' AS BLOB)")
    insert(db, "personal", "jobs", job="id", what=0, value=f"'{ADDRESS}'")
    insert(db, "personal", "jobs", job="id", what=2, value=f"'{PACKAGE}'", tracking="'TRK-' || id")
    job = f"(i % {jobs} + 1)"
    serial = f"'SN' || ({job} * 3 + i / {jobs} % 3)"
    insert(db, "events", count.format(events), seq="i", kind="6 + i % 2", time_usec=f"{START} + i * 1000", job=job,
           drive=f"i / {jobs} % 3", serial=serial, serial_key=serial, data=f"'{DATA}'",
           subject=f"'jobs/job-' || {job} || '/drives/' || {serial}")
    db.execute("COMMIT")
    db.close()
    return time.monotonic() - begun


def disk_ms(folder: pathlib.Path, rounds: int = 100) -> "tuple[float, float]":
    """What one page costs to be written for good, without any daemon: median and the 99th of 100."""
    spent = []
    with open(folder / "disk", "wb", buffering=0) as f:
        for _ in range(rounds):
            f.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fdatasync(f.fileno())
            spent.append((time.perf_counter() - begun) * 1000)
    return at(sorted(spent), 50), at(sorted(spent), 99)


def at(times: "list[float]", percent: int) -> float:
    return times[max(0, -(-len(times) * percent // 100) - 1)]


class Table:
    """Times of answers by the name of the question, and what of its processor the daemon used for one, in the mean: that
    is what to compare on a machine that does other things too."""

    def __init__(self, pid: int):
        self.pid, self.rows, self.spent, self.cpu = pid, {}, {}, {}

    def cpu_ms(self) -> float:
        """Of all threads of the daemon: the clock of another process, as clock_getcpuclockid(3) makes it."""
        return time.clock_gettime(~self.pid << 3 | 2) * 1000

    def time(self, name: str, act) -> None:
        before, begun = self.cpu_ms(), time.perf_counter()
        act()
        self.spent.setdefault(name, []).append((time.perf_counter() - begun) * 1000)
        self.cpu.setdefault(name, []).append(self.cpu_ms() - before)

    def print(self) -> None:
        print(f"{'milliseconds':40} {'median':>8} {'99 %':>8} {'most':>8} {'cpu':>8} {'cpu 99':>8} {'number':>8}")
        for name, times in self.spent.items():
            times.sort()
            self.cpu[name].sort()
            row = {"p50": statistics.median(times), "p99": at(times, 99), "max": times[-1],
                   "cpu": statistics.mean(self.cpu[name]), "cpu99": at(self.cpu[name], 99), "n": len(times)}
            self.rows[name] = row
            print(f"{name:40} {row['p50']:8.2f} {row['p99']:8.2f} {row['max']:8.2f} {row['cpu']:8.2f} {row['cpu99']:8.2f} "
                  f"{row['n']:8}", flush=True)

    def verdict(self, path: "pathlib.Path | None" = None) -> "str | None":
        """For sys.exit(): None when all is as promised."""
        if path:
            path.write_text(json.dumps(self.rows, indent=1))
        late = [name for name, row in self.rows.items() if row["p99"] > PROMISED_MS]
        return f"over {PROMISED_MS:.0f} ms: {', '.join(late)}" if late else None
