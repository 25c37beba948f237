#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A station that is never left alone: its daemon and its workers are killed with SIGKILL at random moments, drives are pulled
and docked elsewhere, the way to the blob server is cut, and the server itself is stopped and started. In the end every drive
is Completed, every blob is there once and is what the source was, and the records are sound.

Usage: station-kill.py [--soak]        ten moments, or a hundred (skips with 77 where the emulator cannot be had)
BERTH_SEED repeats a run.
"""
import hashlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import Azurite, Missing  # noqa: E402
from berthd import Station  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402
from prepared import Prepared  # noqa: E402

MIB = 1 << 20
DRIVES = 4
SLOW = 6 * MIB  # bytes a second for all: a round lasts longer than a moment
READ = """
    const crypto = require('crypto'), found = {};
    for await (const c of service.listContainers()) {
        if (!c.name.startsWith('round')) continue;
        const container = service.getContainerClient(c.name);
        for await (const b of container.listBlobsFlat())
            found[c.name + '/' + b.name] = crypto.createHash('md5').update(
                b.properties.contentLength ? await container.getBlobClient(b.name).downloadToBuffer() : Buffer.alloc(0)).digest('hex');
    }
    return found;"""


def workers_of(pid: int) -> "list[int]":
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


class Round:
    """A job with some drives, docked at once."""

    def __init__(self, folder: pathlib.Path, number: int, dice: random.Random, station: Station):
        self.name, self.station, self.drives = f"round-{number}", station, {}
        for i in range(DRIVES):
            serial = f"R{number}D{i}"
            drive = Prepared(folder, serial)
            drive.credential = ""
            for k in range(24):
                size = dice.choice((0, 700, 20_000, MIB, 5 * MIB)) if k else 4 * MIB
                if sum(map(len, drive.files.values())) + size < 24 * MIB:
                    drive.add(f"round{number}/{serial}/{k}", f"\\d{k % 5}\\{k}", dice.randbytes(size))
            drive.add(f"round{number}/{serial}/disk", "\\disk.vhd", bytes(MIB) + dice.randbytes(MIB) + bytes(MIB), pages=[(MIB, MIB)])
            drive.make()
            self.drives[serial] = drive
        station.job(self.name, *(d.journal for d in self.drives.values()))
        for drive in self.drives.values():
            station.dock(drive.image, station.free_bay())

    def done(self) -> bool:
        return all(d["state"] == "Completed" for d in self.station.get(f"/v1/jobs/{self.name}")["drives"])

    def clear(self) -> None:
        for bay in list(self.station.docked):
            self.station.pull(bay)
        self.station.wait(lambda: all(b["state"] == "empty" for b in self.station.get("/v1/bays")["bays"]), what="empty bays")


def kill_daemon(station: Station, *_) -> None:
    station.kill()
    station.start()


def kill_worker(station: Station, dice: random.Random, *_) -> None:
    workers = workers_of(station.process.pid)
    if workers:
        os.kill(dice.choice(workers), signal.SIGKILL)


def move_drive(station: Station, dice: random.Random, *_) -> None:
    bay = dice.choice(sorted(station.docked))
    image = station.docked[bay].name
    station.pull(bay)
    time.sleep(dice.random())
    station.dock(station.folder.parent / image, station.free_bay())


def cut_line(_station: Station, dice: random.Random, proxy: FaultProxy, _server: Azurite) -> None:
    proxy.add("reset", times=dice.randrange(1, 40))
    proxy.add("lose", times=dice.randrange(1, 6))


def restart_server(_station: Station, dice: random.Random, _proxy: FaultProxy, server: Azurite) -> None:
    server.stop()
    time.sleep(dice.random())
    server.start()


def torment(folder: pathlib.Path, server: Azurite, proxy: FaultProxy, station: Station, moments: int, dice: random.Random) -> dict:
    kinds = [kill_daemon] * 4 + [kill_worker] * 3 + [cut_line] * 2 + [move_drive] * 2 + [restart_server]
    rounds = [Round(folder, 0, dice, station)]
    done: "dict[str, int]" = {}
    for n in range(moments):
        time.sleep(dice.random() * 1.5)
        if rounds[-1].done():
            rounds[-1].clear()
            rounds.append(Round(folder, len(rounds), dice, station))
            time.sleep(dice.random())
        act = kinds[n % len(kinds)] if moments < len(kinds) else dice.choice(kinds)
        done[act.__name__] = done.get(act.__name__, 0) + 1
        act(station, dice, proxy, server)
    station.call("PUT", "/v1/limits", {"bandwidth_bytes_per_second": 0})
    station.wait(rounds[-1].done, 300, "the last round")
    print(f"{len(rounds)} rounds; " + ", ".join(f"{count} {name}" for name, count in done.items()), flush=True)
    return {r.name: r for r in rounds}


def check(server: Azurite, rounds: "dict[str, Round]", station: Station) -> None:
    expected = {f"round{name.split('-')[1]}/{serial}/{'disk' if path == chr(92) + 'disk.vhd' else path.rsplit(chr(92), 1)[1]}":
                hashlib.md5(data).hexdigest()
                for name, r in rounds.items() for serial, d in r.drives.items() for path, data in d.files.items()}
    found = server.client(READ)
    assert found == expected, set(found.items()) ^ set(expected.items())
    for name in rounds:
        view = station.get(f"/v1/jobs/{name}")
        assert view["state"] == "Packaging" and view["percent"] == 100, view
        assert all(d["copy_status"] == "Completed" for d in view["drives"]), view


def run(folder: pathlib.Path, server: Azurite, moments: int) -> None:
    seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    with FaultProxy(server.port) as proxy, \
            Station(folder, server, bays=DRIVES + 1, keys=f"bandwidth = {SLOW}\n", port=proxy.port) as station:
        rounds = torment(folder, server, proxy, station, moments, dice)
        check(server, rounds, station)
        assert station.stop() == 0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-kill-") as name:
        folder = pathlib.Path(name)
        try:
            with Azurite(keep=folder / "azurite") as server:
                run(folder, server, 100 if "--soak" in sys.argv else 10)
        except Missing as e:
            print(f"SKIP: cannot run here: {e}")
            return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
