# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest of the hotplug tests: a kernel of Debian's with the modules that drives need, busybox, udev, and the
programs under test with their libraries, all in the memory of a virtual machine.

    kernel, base = guest.base()                    # made once for each version of the kernel, and kept
    archive = guest.Archive()
    archive.program(path, "/usr/bin/berthd")       # with every library it needs
    archive.write(folder / "programs.cpio")

Called as a program it makes the base, where it is not there yet, and says where it is (scripts/setup).

The kernel comes from Debian's archive by apt-get, without being installed, into BERTH_VM or
$XDG_CACHE_HOME/berth/vm, beside the tools from npm. Nothing needs root. Where it cannot be had, Missing is raised.
Debian 12's own kernel would do, but for the newer one's NTFS, with which our reader can be compared.
"""
import contextlib
import fcntl
import hashlib
import lzma
import os
import pathlib
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KERNEL = "linux-image-6.12-amd64"
MODULES = {
    "drives": ["virtio_pci", "virtio_scsi", "virtio_net", "sd_mod", "sg", "ahci", "nvme", "xhci_pci", "usb_storage",
               "uas"],
    "shelf": ["ses", "target_core_mod", "target_core_user", "tcm_loop"],
}
RULES = ["50-udev-default", "60-block", "60-persistent-storage"]
HELPERS = ["/lib/udev/ata_id", "/lib/udev/scsi_id"]
DOWNLOAD_LIMIT_SEC = 300


class Missing(Exception):
    """The guest cannot be built here, and why."""


class Archive:
    """A cpio archive ("newc"), as the kernel unpacks it. Several may follow each other; later files win."""

    def __init__(self):
        self.entries: "dict[str, tuple[int, bytes]]" = {}

    def _add(self, path: str, mode: int, data: bytes) -> None:
        parent = os.path.dirname(path)
        if parent != "/" and parent not in self.entries:
            self.folder(parent)
        self.entries[path] = (mode, data)

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._add(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._add(path, stat.S_IFREG | mode, data)

    def link(self, path: str, to: str) -> None:
        self._add(path, stat.S_IFLNK | 0o777, to.encode())

    def program(self, source: "str | pathlib.Path", path: str) -> None:
        """A program without its symbols, and the libraries it is linked with where it expects them."""
        with tempfile.NamedTemporaryFile() as bare:
            subprocess.run(["strip", "-o", bare.name, source], check=True)
            self.file(path, pathlib.Path(bare.name).read_bytes(), 0o755)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True)  # fails where it is static
        for library in re.findall(r"(/\S+) \(0x", listed.stdout):
            if library not in self.entries:
                self.file(library, pathlib.Path(library).read_bytes(), 0o755)

    def write(self, path: pathlib.Path) -> pathlib.Path:
        with open(path, "wb") as out:
            for n, (name, (mode, data)) in enumerate([*self.entries.items(), ("TRAILER!!!", (0, b""))], 1):
                text = name.lstrip("/").encode() + b"\0"
                fields = [n, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(text), 0]
                head = b"070701" + b"".join(b"%08X" % f for f in fields) + text
                out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))
            out.write(bytes(-out.tell() % 512))
        return path


def cache() -> pathlib.Path:
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "berth" / "vm"
    return pathlib.Path(os.environ.get("BERTH_VM") or default)


def _need_programs() -> None:
    if platform.machine() != "x86_64":
        raise Missing("the guest is for x86-64")
    wanted = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod",
              "modprobe": "kmod", "socat": "socat", "udevadm": "udev", "strip": "binutils", "sfdisk": "fdisk",
              "setpriv": "util-linux", "apt-get": "apt", "dpkg-deb": "dpkg"}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for program, package in wanted.items() if not shutil.which(program, path=path)}
    missing |= {"udev" for helper in HELPERS if not os.path.exists(helper)}
    if missing:
        raise Missing("not installed: " + " ".join(sorted(missing)))


def _package() -> "str | None":
    """The package that has the kernel of today, or None when apt does not know."""
    told = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True)
    found = re.search(r"Depends: (linux-image-6\.12\S+-amd64)", told.stdout)
    return found.group(1) if found else None


def _download(package: str, folder: pathlib.Path) -> pathlib.Path:
    run = subprocess.run(["apt-get", "download", "-q", package], cwd=folder, capture_output=True, text=True,
                         timeout=DOWNLOAD_LIMIT_SEC)
    found = list(folder.glob("*.deb"))
    if run.returncode or not found:
        raise Missing(f"apt-get download {package} (apt-get update may help): {run.stderr.strip()[-300:]}")
    return found[0]


def _unpack(deb: pathlib.Path, folder: pathlib.Path) -> None:
    data = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    subprocess.run(["tar", "x", "-C", folder, "--wildcards", "./boot/vmlinuz-*", "./lib/modules/*",
                    "./usr/lib/modules/*"], stdin=data.stdout, stderr=subprocess.DEVNULL)
    if data.wait() or not list(folder.glob("boot/vmlinuz-*")):
        raise Missing(f"{deb.name} holds no kernel")
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")


def _add_modules(archive: Archive, root: pathlib.Path) -> None:
    """Each module after those it depends on; /modules/NAME lists are what the guest loads."""
    version = next((root / "lib/modules").iterdir()).name
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    subprocess.run(["depmod", "-b", root, version], check=True, env=environment)
    for name, modules in MODULES.items():
        order = []
        for module in modules:
            shown = subprocess.run(["modprobe", "-d", root, "-S", version, "--show-depends", module], check=True,
                                   capture_output=True, text=True, env=environment).stdout
            for path in re.findall(r"^insmod (\S+)", shown, re.MULTILINE):
                inside = f"/modules/{os.path.basename(path).split('.')[0]}.ko"
                data = pathlib.Path(path).read_bytes()
                archive.file(inside, lzma.decompress(data) if path.endswith(".xz") else data)
                order.append(inside)
        archive.file(f"/modules/{name}", "\n".join(dict.fromkeys(order)).encode() + b"\n")


def _make(package: str, folder: pathlib.Path) -> None:
    """Leaves vmlinuz and base.cpio in `folder`, which comes to be as a whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder.parent) as work:
        root, ready = pathlib.Path(work) / "root", pathlib.Path(work) / "ready"
        root.mkdir()
        ready.mkdir()
        _unpack(_download(package, pathlib.Path(work)), root)
        archive = Archive()
        _add_modules(archive, root)
        for path in ["/proc", "/sys", "/dev", "/run", "/tmp", "/etc/udev/rules.d", "/var/lib"]:
            archive.folder(path)
        archive.file("/init", (HERE / "init").read_bytes(), 0o755)
        archive.program(shutil.which("udevadm"), "/usr/bin/udevadm")
        archive.link("/usr/bin/systemd-udevd", "udevadm")  # the same program by another name
        archive.program(shutil.which("busybox"), "/bin/busybox")
        for helper in HELPERS:
            archive.program(helper, helper)
        for rules in RULES:
            archive.file(f"/lib/udev/rules.d/{rules}.rules",
                         pathlib.Path(f"/lib/udev/rules.d/{rules}.rules").read_bytes())
        archive.file("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        archive.file("/etc/group", b"root:x:0:\n")
        archive.write(ready / "base.cpio")
        shutil.copy(next(root.glob("boot/vmlinuz-*")), ready / "vmlinuz")
        ready.rename(folder)


def base() -> "tuple[pathlib.Path, pathlib.Path]":
    """The kernel, and the archive of all that is not of this project."""
    _need_programs()
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    package = _package()
    recipe = hashlib.sha256((HERE / "guest.py").read_bytes() + (HERE / "init").read_bytes()).hexdigest()[:12]
    if not package:  # without apt's lists, what was made before will do
        made = sorted(folder.glob(f"linux-image-*@{recipe}"))
        if not made:
            raise Missing(f"apt knows no {KERNEL}: run apt-get update")
        return made[-1] / "vmlinuz", made[-1] / "base.cpio"
    wanted = folder / f"{package}@{recipe}"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            _make(package, wanted)
            for old in folder.glob("linux-image-*@*"):
                if old != wanted:
                    with contextlib.suppress(OSError):
                        shutil.rmtree(old)
    return wanted / "vmlinuz", wanted / "base.cpio"


def main() -> int:
    try:
        try:
            print(base()[1].parent)
        except Missing:
            if os.geteuid() != 0:
                raise
            # The archive may have a newer kernel than apt heard of, or apt may never have asked.
            subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, timeout=DOWNLOAD_LIMIT_SEC)
            print(base()[1].parent)
    except Missing as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
