# SPDX-License-Identifier: GPL-3.0-or-later
"""The station in the guest: berthd with its worker, bays at the places where the machine has its plugs, and drives that
berth-prep made here. As on a station, berthd is no root: it may do what udev's rules for bays let its group do.

    with Station(folder, server) as station:
        drive = Drive(folder, "QX7-1", {"a.bin": data})
        station.job("photos", drive)
        station.dock(drive, "S1")
        station.wait_drive(drive, copy_status="Completed")
"""
import base64
import json
import os
import pathlib
import shlex
import shutil
import subprocess

import guest
from azurite import ACCOUNT, KEY, Azurite
from machine import BLOBS, Machine

BUILD, SOURCE = pathlib.Path(os.environ["BERTH_BUILD"]), pathlib.Path(os.environ["BERTH_SOURCE"])
PROGRAMS = {"daemon/berthd": "/usr/bin/berthd", "uploader/berth-worker": "/usr/libexec/berth/berth-worker",
            "ctl/berthctl": "/usr/bin/berthctl"}
# What systemd would do for the daemon: see berthd.service and berth-bays.service.
USERS = b"root:x:0:0:root:/:/bin/sh\nberth:x:990:990:Berth station:/var/lib/berth:/bin/false\n"
GROUPS = b"root:x:0:\nberth:x:990:\nberth-worker:x:991:berth\n"
PREPARE = ("mkdir -p /run/udev/rules.d /var/lib/berth /run/berth; chown -R berth:berth /var/lib/berth /run/berth /etc/berth",
           "berthd --udev-rules /run/udev/rules.d/59-berth-bays.rules",
           "udevadm control --reload",
           "udevadm trigger --action=change --subsystem-match=block --subsystem-match=enclosure",
           "udevadm settle --timeout=30")
AS_BERTH = ("/usr/bin/setpriv --reuid=berth --regid=berth --init-groups --inh-caps=-all,+sys_rawio --ambient-caps=-all,+sys_rawio "
            "--bounding-set=-all,+sys_rawio --no-new-privs")
PARTITION_BYTES = 1 << 20
VOLUME_MIB = 64
CONTAINER = "hotplug"
DRIVE_LIMIT_SEC = 120
# By udev's ID_PATH whole and cut short, and by the port. The plugs are those of machine.Machine.
BAYS = {
    "SATA": "id_path = pci-0000:00:1f.2-ata-2.0",
    "S1": "id_path = pci-0000:00:05.0-scsi-0:0:1:0",
    "S2": "id_path = pci-0000:00:05.0-scsi-0:0:2:*",
    "N1": "id_path = pci-0000:01:00.0-nvme-1",
    "N2": "id_path = pci-0000:02:00.0-nvme-1",
    "U1": "usb = 2-1",
}
PLUGS = {
    "S1": {"driver": "scsi-hd", "bus": "hba.0", "scsi-id": 1, "lun": 0, "vendor": "ATA", "product": "BERTH DISK"},
    "S2": {"driver": "scsi-hd", "bus": "hba.0", "scsi-id": 2, "lun": 0, "vendor": "ATA", "product": "BERTH DISK"},
    "N1": {"driver": "nvme", "bus": "rp1"},
    "N2": {"driver": "nvme", "bus": "rp2"},
    "U1": {"driver": "usb-storage", "bus": "usb.0", "port": "1"},
}
READ_ALL = """
    const found = {}, container = service.getContainerClient(args[0]);
    if (await container.exists())
        for await (const b of container.listBlobsFlat({ prefix: args[1] }))
            found[b.name] = require('crypto').createHash('sha256').update(
                b.properties.contentLength ? await container.getBlobClient(b.name).downloadToBuffer() : '').digest('hex');
    return found;"""


class Drive:
    """A drive as a customer sends it: `files` on an encrypted volume, in a partition if wanted, and its journal. It is
    opened with an external key, for stretching a recovery password takes half a minute where the processor is
    emulated."""

    def __init__(self, folder: pathlib.Path, serial: str, files: "dict[str, bytes]", partitioned: bool = True):
        self.serial, self.files = serial, files
        self.folder = folder / serial
        source = self.folder / "source"
        for name, data in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
        volume = self.folder / f"{serial}.img"
        subprocess.run([BUILD / "tests/tools/make-volume", volume, str(VOLUME_MIB), "xts-256", "512", "4096"], check=True)
        key = pathlib.Path(f"{volume}.external").read_text()
        empty = volume.read_bytes()
        drives = self.folder / "driveset.csv"
        drives.touch(0o600)
        drives.write_text("DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,ExistingBitLockerKey\n"
                          f"{volume},AlreadyFormatted,SilentMode,AlreadyEncrypted,{key}\n")
        self.journal = self.folder / f"{serial}.jrn"
        done = subprocess.run([BUILD / "ctl/berth-prep", "import", "--journal", self.journal, "--session", "vm-1", "--driveset",
                               drives, "--source-dir", source, "--destination-dir", f"{CONTAINER}/{serial}/", "--quiet"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.content_sector = self._content(empty, volume.read_bytes())
        self.image = self._with_table(volume) if partitioned else volume
        if partitioned:
            self.content_sector += PARTITION_BYTES // 512

    @staticmethod
    def _content(empty: bytes, full: bytes, step: int = 65536) -> int:
        """A sector in the middle of what berth-prep wrote at one piece: of a large file."""
        longest = (0, 0)
        begin = None
        for at in range(0, len(full) + step, step):
            differs = at < len(full) and empty[at:at + step] != full[at:at + step]
            if differs and begin is None:
                begin = at
            elif not differs and begin is not None:
                longest = max(longest, (at - begin, begin))
                begin = None
        return (longest[1] + longest[0] // 2) // 512

    def _with_table(self, volume: pathlib.Path) -> pathlib.Path:
        image, sectors = self.folder / "disk", (VOLUME_MIB << 20) // 512
        with open(image, "wb") as disk:
            disk.truncate((VOLUME_MIB << 20) + 2 * PARTITION_BYTES)
        sfdisk = shutil.which("sfdisk", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        subprocess.run([sfdisk, "--quiet", image], check=True, text=True, stdout=subprocess.DEVNULL,
                       input=f"label: gpt\nstart={PARTITION_BYTES // 512}, size={sectors}, "
                             "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n")
        subprocess.run(["dd", f"if={volume}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"],
                       check=True)
        return image

    def blobs(self) -> "dict[str, bytes]":
        return {f"{self.serial}/{name}": data for name, data in self.files.items()}


def pack(folder: pathlib.Path, files: "dict[str, bytes]", programs: "dict[pathlib.Path, str]") -> pathlib.Path:
    archive = guest.Archive()
    for built, path in programs.items():
        archive.program(built, path)
    archive.program("/usr/bin/setpriv", "/usr/bin/setpriv")
    for tool in ["sh", "chgrp", "chmod"]:  # by these names in the rules
        archive.link(f"/usr/bin/{tool}", "/bin/busybox")
    archive.file("/etc/passwd", USERS)
    archive.file("/etc/group", GROUPS)
    archive.file("/lib/udev/rules.d/60-berth.rules", (SOURCE / "systemd/60-berth.rules").read_bytes())
    for path, data in files.items():
        archive.file(path, data, 0o600)
    return archive.write(folder / "programs.cpio")


class Station:
    """`sata` is the drive that is in the machine from the start, and may be slow; `keys` are more lines of [station], `programs` more
    programs and where they are in the guest."""

    def __init__(self, folder: pathlib.Path, server: Azurite, sata: "Drive | None" = None, sata_pace: int = 0, keys: str = "",
                 bays: "dict[str, str]" = BAYS, programs: "dict[pathlib.Path, str] | None" = None):
        self.folder, self.server = folder, server
        self.plugged: "dict[str, Drive]" = {}
        kernel, base = guest.base()
        more = []
        if sata:
            more = ["-drive", f"if=none,id=sata,file={sata.image},format=raw,snapshot=on"
                              + (f",throttling.bps-read={sata_pace}" if sata_pace else ""),
                    "-device", f"ide-hd,bus=ide.1,drive=sata,serial={sata.serial},model=BERTH SATA DISK,"
                               "wwn=0x5000c500a1b2c3d4,rotation_rate=1"]
        inside = {"/etc/berth/berthd.conf": self.configuration(keys, bays).encode(), "/etc/berth/account.key": KEY.encode()}
        ours = {BUILD / built: path for built, path in PROGRAMS.items()}
        archive = pack(folder, inside, {**ours, **(programs or {})})
        self.machine = Machine(kernel, [base, archive], folder, server.port, more)

    @staticmethod
    def configuration(keys: str, bays: "dict[str, str]") -> str:
        return ("[station]\nname = vm\nstate_directory = /var/lib/berth\nrun_directory = /run/berth\n"
                f"worker = /usr/libexec/berth/berth-worker\nmemory = 192MiB\n{keys}"
                + "".join(f"[bay {name}]\n{place}\n" for name, place in bays.items())
                + f"[account {ACCOUNT}]\nendpoint = http://{BLOBS}/{ACCOUNT}\nallow_plain = yes\ncredential = key\n"
                  "credential_file = /etc/berth/account.key\n")

    def __enter__(self) -> "Station":
        self.machine.__enter__()
        return self

    def __exit__(self, kind, *_) -> None:
        if kind:
            print(self.machine.account(), flush=True)
        self.machine.__exit__()

    def start(self) -> None:
        seen = len(self.machine.log())
        for command in PREPARE:
            self.machine.run(command)
        self.machine.run(f"{AS_BERTH} berthd </dev/null >/dev/ttyS2 2>&1 & echo $! >/run/berthd.pid")
        self.machine.wait_log("watches the bays", seen)

    def stop(self, signal: str = "TERM") -> None:
        self.machine.run(f"kill -{signal} $(cat /run/berthd.pid)")
        self.machine.wait("the end of berthd", lambda: "gone" in self.machine.run(
            "kill -0 $(cat /run/berthd.pid) 2>/dev/null || echo gone"))

    # -- what berthctl says

    def ctl(self, *arguments: str) -> dict:
        return json.loads(self.machine.run(shlex.join(["berthctl", *arguments, "--json"])))

    def bay(self, name: str) -> dict:
        return next(b for b in self.ctl("list")["bays"] if b["bay"] == name)

    def job(self, name: str, *drives: Drive) -> None:
        paths = []
        for drive in drives:
            path = f"/tmp/{drive.serial}.jrn"
            text = base64.b64encode(drive.journal.read_bytes()).decode()
            self.machine.run(f"umask 077; echo {text} | base64 -d >{path}")
            paths.append(path)
        self.name = name
        self.ctl("job", "import", *paths, "--account", ACCOUNT, "--name", name)

    def drive(self, drive: Drive) -> dict:
        return next(d for d in self.ctl("job", "show", self.name)["drives"] if d["serial"] == drive.serial)

    def wait_drive(self, drive: Drive, limit: float = DRIVE_LIMIT_SEC, **values) -> dict:
        """Until the drive's record has these values."""
        last = {}

        def there() -> "dict | None":
            nonlocal last
            last = self.drive(drive)
            return last if all(last.get(key) == value for key, value in values.items()) else None
        try:
            return self.machine.wait(f"{drive.serial} with {values}", there, limit)
        except AssertionError as e:
            raise AssertionError(f"{e}; it is {last}") from e

    def wait_bay(self, name: str, state: str) -> dict:
        return self.machine.wait(f"bay {name} {state}", lambda: (b := self.bay(name))["state"] == state and b)

    # -- hands

    def dock(self, drive: Drive, bay: str, **how) -> None:
        self.machine.plug(bay, drive.image, serial=drive.serial, **PLUGS[bay], **how)
        self.plugged[bay] = drive

    def pull(self, bay: str) -> None:
        self.machine.pull(bay)
        del self.plugged[bay]

    def take_sata(self) -> str:
        """Lets the kernel forget the SATA drive; the adapter with which it finds it again."""
        host = self.machine.run("basename $(echo /sys/bus/scsi/devices/target*/*/block/*/device | tr ' ' '\\n' | "
                                "xargs -n1 realpath | grep -o 'host[0-9]*' | head -n1)").strip()
        self.machine.run("for disk in /sys/block/sd*; do echo 1 >$disk/device/delete; done")
        self.machine.wait("no disk", lambda: "sd" not in self.machine.run("cat /proc/partitions"))
        return host

    def give_sata(self, host: str) -> None:
        self.machine.run(f"echo '- - -' >/sys/class/scsi_host/{host}/scan")

    # -- what arrived

    def blobs(self, drive: Drive) -> "dict[str, str]":
        return self.server.client(READ_ALL, CONTAINER, drive.serial + "/")
