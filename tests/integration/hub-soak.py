#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three stations and a hub that are never left alone. Jobs are made at the hub, the drives of each are docked in different
stations, and while they are copied the way to the hub and the way to the blob server are cut, delayed and doubled (also long
after others have followed), drives are pulled and go on in another station, and the daemons are killed with SIGKILL at random.
In the end the hub's jobs are what the drives' stations say, its record of what each station said is the station's own
history, each event once, and nothing waits in an outbox.

Usage: hub-soak.py [--soak] [--postgresql]

Six drives and twelve moments, or thirty and a hundred. With --postgresql there are two hub processes, whose records are in a
server that is killed as well. Skips with 77 where the emulator or that server cannot be had. BERTH_SEED repeats a run.
"""
import json
import os
import pathlib
import random
import signal
import sqlite3
import ssl
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import postgres  # noqa: E402
from azurite import Azurite, Missing  # noqa: E402
from berthd import Station, ask  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402
from prepared import Prepared  # noqa: E402
from service import Service  # noqa: E402

STATIONS = ("east", "north", "west")
PER_JOB = 3
LIMIT_SEC = 600
SLOW = "1MiB"  # a second for each station: transfers last longer than a moment


class Hub(Service):
    """On the same port after it was killed, as stations know it."""

    def start(self) -> None:
        super().start()
        conf = self.folder / "berthd.conf"
        conf.write_text(conf.read_text().replace("listen = 127.0.0.1:0", f"listen = 127.0.0.1:{self.port}"))

    def crash(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def local(self, method: str, path: str, body=None) -> dict:
        status, content = ask(self.folder / "run/berthd.sock", method, path, body)
        assert status < 400, (path, status, content)
        return content


def proxy_of(hub: Hub) -> FaultProxy:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(hub.folder / "server.pem", hub.folder / "server.key")
    client = ssl.create_default_context(cafile=hub.ca)
    client.check_hostname = False
    return FaultProxy(hub.port, server, client)


def station(folder: pathlib.Path, server: Azurite, port: int, hub: Hub, way: FaultProxy, name: str, bays: int) -> Station:
    token = folder / f"{name}.token"
    token.write_text(hub.tokens["station"] + "\n")
    token.chmod(0o600)
    return Station(folder, server, bays=bays, name=name, port=port, keys=(
        f"job_service = https://127.0.0.1:{way.port}\njob_service_token = {token}\njob_service_ca = {hub.ca}\n"
        f"job_service_poll = 1s\nbandwidth = {SLOW}\nworkers_at_once = 3\n"))


def make(folder: pathlib.Path, serial: str, dice: random.Random) -> Prepared:
    drive = Prepared(folder, serial)
    drive.credential = ""
    for i in range(4):
        drive.add(f"soak/{serial}/{i}", f"\\{i}", dice.randbytes(dice.choice((700, 20_000, 1 << 20, 3 << 20))))
    drive.make()
    return drive


class World:
    def __init__(self, hubs, ways, line, stations, dice, database):
        self.hubs, self.ways, self.line, self.stations, self.dice = hubs, ways, line, stations, dice
        self.database = database  # the server of the hubs' records, or None
        self.drives: "dict[str, Prepared]" = {}
        self.jobs: "dict[str, list[str]]" = {}
        self.at: "dict[str, tuple[Station, str]]" = {}  # where each drive is docked
        self.moved: "set[str]" = set()

    def hub(self) -> Hub:
        return self.hubs[0]

    def job_at(self, where, name: str) -> "dict | None":
        try:
            return where("GET", f"/v1/jobs/{name}")
        except Exception as refused:  # not known yet
            assert "404" in str(refused), refused
            return None

    def make_jobs(self, folder: pathlib.Path, account: str, n: int) -> None:
        for k in range(n):
            name = f"soak-{k}"
            self.jobs[name] = [f"S{k}D{i}" for i in range(PER_JOB)]
            for serial in self.jobs[name]:
                self.drives[serial] = make(folder, serial, self.dice)
            self.hub().local("POST", "/v1/jobs", {"name": name, "account": account, "journals": [
                {"name": self.drives[s].journal.name, "text": self.drives[s].journal.read_text()} for s in self.jobs[name]]})

    def dock(self, serial: str, where: Station) -> None:
        bay = where.free_bay()
        where.dock(self.drives[serial].image, bay)
        self.at[serial] = (where, bay)

    def dock_all(self) -> None:
        for name, serials in self.jobs.items():
            for i, serial in enumerate(serials):
                where = self.stations[i % len(self.stations)]
                where.wait(lambda where=where, name=name: self.job_at(where.call, name), LIMIT_SEC, f"{name} at {where.folder.name}")
                self.dock(serial, where)

    # --- moments ---

    def kill_station(self) -> None:
        one = self.dice.choice(self.stations)
        one.kill()
        one.start()

    def kill_hub(self) -> None:
        one = self.dice.choice(self.hubs)
        one.crash()
        time.sleep(self.dice.random() * 2)
        one.start()

    def kill_database(self) -> None:
        self.database.stop()
        time.sleep(self.dice.random() * 2)
        self.database.start()

    def cut_way(self) -> None:
        way = self.dice.choice(self.ways)
        way.add("reset", times=self.dice.randrange(1, 4))
        way.add("lose", match="^POST", times=self.dice.randrange(1, 4))

    def delay_way(self) -> None:
        way = self.dice.choice(self.ways)
        way.add("delay", times=2, seconds=self.dice.random() * 3)
        way.add("again", match="^POST", times=self.dice.randrange(1, 6), seconds=self.dice.random() * 8)
        way.add("twice", match="^POST", times=2)
        way.add("status", times=1, status=503, headers={"Retry-After": "1"})

    def cut_line(self) -> None:
        self.line.add("reset", times=self.dice.randrange(1, 10))
        self.line.add("lose", times=self.dice.randrange(1, 3))

    def move_drive(self) -> None:
        """To another station; each drive once, so that who held it last is plain."""
        left = sorted(s for s in self.drives if s not in self.moved)
        if not left:
            return
        serial = self.dice.choice(left)
        where, bay = self.at[serial]
        other = self.dice.choice([s for s in self.stations if s is not where and s.free_bay()])
        if where.drive(serial)["state"] == "Specified" or not self.job_at(other.call, self.job_of(serial)):
            return
        self.moved.add(serial)
        where.pull(bay)
        where.wait_bay(bay, state="empty")
        self.dock(serial, other)

    def job_of(self, serial: str) -> str:
        return next(name for name, serials in self.jobs.items() if serial in serials)

    def torment(self, moments: int) -> "dict[str, int]":
        kinds = [self.kill_hub, self.kill_station, self.delay_way, self.cut_way, self.move_drive, self.cut_line]
        if self.database:
            kinds.insert(1, self.kill_database)
        done: "dict[str, int]" = {}
        for n in range(moments):
            time.sleep(self.dice.random() * 1.5)
            act = kinds[n] if n < len(kinds) else self.dice.choice(kinds)
            act()
            done[act.__name__] = done.get(act.__name__, 0) + 1
        return done

    # --- the end ---

    def finish(self) -> None:
        for way in self.ways:
            way.rules.clear()
        self.line.rules.clear()
        for one in self.stations:
            one.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 0})
            one.post("/v1/reload")
        for serial, (where, bay) in self.at.items():
            where.wait_drive(serial, LIMIT_SEC, state="Completed", copy_status="Completed")
        for serial, (where, bay) in self.at.items():
            where.pull(bay)
        for one in self.stations:
            one.wait(lambda one=one: all(b["state"] == "empty" for b in one.get("/v1/bays")["bays"]), what="empty bays")

    def check_jobs(self) -> None:
        """The hub's jobs are done, and each drive is what the station says that held it last."""
        for name, serials in self.jobs.items():
            at_hub = self.hub().local("GET", f"/v1/jobs/{name}")
            assert at_hub["state"] == "Packaging" and at_hub["percent"] == 100, at_hub
            for drive in at_hub["drives"]:
                truth = self.at[drive["serial"]][0].drive(drive["serial"])
                for key in ("state", "copy_status", "bytes", "bytes_done", "blobs", "blobs_done", "docked", "running", "activity"):
                    assert drive.get(key) == truth.get(key), (name, key, drive, truth)

    def check_views(self) -> None:
        """What the hub keeps of each station's drives is what the station says itself."""
        views = {(v["source"], v.get("job"), v.get("serial")): v for v in self.hub().local("GET", "/v1/hub/drives")["drives"]}
        for one in self.stations:
            for name in self.jobs:
                for drive in one.get(f"/v1/jobs/{name}")["drives"]:
                    view = views.get((f"/stations/{one.folder.name}", name, drive["serial"]))
                    if not view:  # nothing ever happened to it there
                        assert drive["state"] == "Specified", drive
                        continue
                    said = view["drive_says"]
                    assert said["state"] == drive["state"] and said.get("copyStatus") == drive.get("copy_status"), (drive, view)
                    assert said["activity"] == drive["activity"], (drive, view)
        heard = self.hub().local("GET", "/v1/hub/stations")["stations"]
        assert sorted(s["name"] for s in heard) == sorted(STATIONS), heard
        assert all(s["refused"] == 0 and s["docked"] == 0 and not s["silent"] for s in heard), heard
        open_ones = [c for c in self.hub().local("GET", "/v1/hub/conflicts")["conflicts"] if c["open"]]
        assert not open_ones, open_ones

    def settle(self) -> None:
        """The last events are on their way for a moment, and what others did comes to each station when it asks for jobs,
        which it tells in its turn. So all must hold for a while."""
        until, held = time.monotonic() + LIMIT_SEC / 4, 0
        while held < 6:
            time.sleep(0.5)
            held += 1
            try:
                self.check_jobs()
                self.check_views()
                self.check_stations()
            except AssertionError:
                if time.monotonic() > until:
                    raise
                held = 0

    def check_stations(self) -> None:
        for one in self.stations:
            view = one.get("/v1/station")["job_service"]
            assert view["waiting"] == 0 and view["parked"] == 0, view
            for name in self.jobs:
                assert all(d["state"] == "Completed" for d in one.get(f"/v1/jobs/{name}")["drives"]), name

    def check_history(self, rows) -> int:
        """`rows`: (source, number, type, data) of all that the hub has. Each event of each station's own history once, and
        no other."""
        total = 0
        for one in self.stations:
            database = sqlite3.connect(f"file:{one.folder}/state/store.sqlite?mode=ro", uri=True)
            own = {(seq, kind, canonical(data)) for seq, kind, data in
                   database.execute("SELECT seq, kind, data FROM events WHERE kind <> 8")}  # 8: progress has no history
            waiting = list(database.execute("SELECT o.*, e.kind, e.subject, e.data FROM outbox o JOIN events e ON e.seq = o.seq"))
            assert not waiting, (one.folder.name, waiting)
            database.close()
            told = [(int(seq), int(kind), canonical(data)) for source, seq, kind, data in rows
                    if source == f"/stations/{one.folder.name}"]
            assert len(told) == len(set(told)), "an event is there twice"
            assert set(told) == own, (one.folder.name, set(told) ^ own)
            total += len(told)
        return total


def canonical(data: str) -> str:
    return json.dumps(json.loads(data), sort_keys=True)


HISTORY = "SELECT s.source, e.seq, e.kind, e.data FROM hub_events e JOIN hub_stations s ON s.id = e.station"


def history(hub: Hub, database: "postgres.Postgres | None") -> list:
    if database:
        return database.ask(f"SET search_path = hub; {HISTORY}")
    connection = sqlite3.connect(f"file:{hub.folder}/state/store.sqlite?mode=ro", uri=True)
    rows = list(connection.execute(HISTORY))
    connection.close()
    return rows


def run(folder: pathlib.Path, server: Azurite, database: "postgres.Postgres | None", long: bool, dice: random.Random) -> None:
    account = (f"[account {server.account}]\nendpoint = {server.endpoint}\nallow_plain = yes\ncredential = key\n"
               f"credential_file = {folder}/nothing\n")
    records = f"database = {database.url('hub')}" if database else ""
    hubs = [Hub(folder / f"hub{i}", accounts=account, station=records) for i in range(2 if database else 1)]
    jobs = 10 if long else 2
    with FaultProxy(server.port) as line:
        for hub in hubs:
            hub.start()
        ways = [proxy_of(hub) for hub in hubs]
        for way in ways:
            way.__enter__()
        stations = [station(folder, server, line.port, hubs[i % len(hubs)], ways[i % len(ways)], name, jobs * PER_JOB)
                    for i, name in enumerate(STATIONS)]
        world = World(hubs, ways, line, stations, dice, database)
        try:
            for one in stations:
                one.start()
            world.make_jobs(folder, server.account, jobs)
            world.dock_all()
            done = world.torment(100 if long else 12)
            world.finish()
            world.settle()
        except BaseException:
            for hub in hubs:
                print(hub.log()[-4000:])
            for one in stations:
                print(one.folder.name, one.log()[-4000:])
            raise
        finally:
            for one in stations:
                one.kill()
            for way in ways:
                way.__exit__()
            for hub in hubs:
                hub.crash()
        n = world.check_history(history(hubs[0], database))
    print(f"{len(world.drives)} drives, {len(world.moved)} moved; {n} events, each once; "
          + ", ".join(f"{count} {name}" for name, count in sorted(done.items())))


def main() -> int:
    seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 32)))
    print(f"BERTH_SEED={seed}", flush=True)
    with_server = "--postgresql" in sys.argv
    if with_server and not postgres.programs():
        print("SKIP: cannot run here: there is no PostgreSQL server")
        return 77
    try:
        with Azurite() as server, tempfile.TemporaryDirectory(prefix="berth-soak-") as folder:
            arguments = (pathlib.Path(folder), server), ("--soak" in sys.argv, random.Random(seed))
            if with_server:
                with postgres.Postgres() as database:
                    run(*arguments[0], database, *arguments[1])
            else:
                run(*arguments[0], None, *arguments[1])
    except Missing as missing:
        print(f"SKIP: cannot run here: {missing}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
