# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian 12 of its own in a container (systemd-nspawn), with systemd as its first process.

    with Container(folder) as container:      # a fresh root in `folder`
        ...                                   # files may be put below container.root
        container.boot()
        container.run("systemctl", "is-active", "berthd")
        container.path("/run/berth")          # from outside, while it runs

Where there can be none, Missing is raised, and tests skip (77). The network is the machine's own, so that a blob
server on 127.0.0.1 is reached, unless `private` is set.
"""
import os
import pathlib
import shutil
import subprocess
import time

from azurite import Azurite
from berthd import Station

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BOOT_LIMIT_SEC = 60
STOP_LIMIT_SEC = 60


class Missing(Exception):
    """There can be no container, and why."""


def archive() -> pathlib.Path:
    if os.geteuid() != 0:
        raise Missing("only root can boot a container")
    for program in ("systemd-nspawn", "nsenter"):
        if not shutil.which(program):
            raise Missing(f"{program} is not installed")
    run = subprocess.run([SOURCE / "scripts/container-root"], capture_output=True, text=True, timeout=600, check=False)
    if run.returncode:
        raise Missing(run.stderr.strip()[-500:] or "scripts/container-root failed")
    return pathlib.Path(run.stdout.strip().splitlines()[-1])


class Container:
    def __init__(self, folder: pathlib.Path, private: bool = False, binds: "list[str] | None" = None):
        self.root, self.private, self.binds = folder / "root", private, binds or []
        self.log = folder / "console.log"
        self.process: "subprocess.Popen | None" = None
        self.init = 0

    def __enter__(self) -> "Container":
        packed = archive()
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "--exclude=./dev/*", "-xf", packed], check=True, timeout=120)
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def prepare(self, *command: str) -> str:
        """Runs a program of this machine on the root before it boots, such as systemctl --root=."""
        run = subprocess.run([*command], capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"
        return run.stdout

    def boot(self) -> None:
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--register=no", "--keep-unit",
                   # Sandboxes inside want what the container's own list of system calls leaves out.
                   "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self @aio",
                   "--resolv-conf=off", "--timezone=off", "--boot"]
        command += ["--private-network"] if self.private else []
        command += [f"--bind-ro={path}" for path in self.binds]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + BOOT_LIMIT_SEC
        while not self._is_up():
            if self.process.poll() is not None:
                raise Missing("the container does not boot: " + self.console())
            assert time.monotonic() < deadline, "the container came to no end of booting: " + self.console()
            time.sleep(0.05)

    def _is_up(self) -> bool:
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
        if not children.split():
            return False
        self.init = int(children.split()[0])
        try:
            state = self.run("systemctl", "is-system-running", fine=None)
        except (AssertionError, subprocess.TimeoutExpired, FileNotFoundError):
            return False
        return state.strip() in ("running", "degraded")

    def stop(self) -> None:
        if not self.process:
            return
        if self.process.poll() is None:
            self.run("systemctl", "poweroff", "--no-block", fine=None)
            try:
                self.process.wait(STOP_LIMIT_SEC)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def console(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def run(self, *command: str, fine: "int | None" = 0, limit: float = 60) -> str:
        """Runs a program inside, as root; None takes any exit code. Its output comes back."""
        run = subprocess.run(["nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--net", "--pid",
                              "--cgroup", "--root", "--wd", *command], capture_output=True, text=True, timeout=limit,
                             stdin=subprocess.DEVNULL, check=False)
        if fine is not None and run.returncode != fine:
            raise AssertionError(f"{' '.join(command)}: {run.returncode}: {run.stdout}{run.stderr}")
        return run.stdout

    def show(self, unit: str, *names: str) -> "dict[str, str]":
        told = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in told.splitlines())

    def journal(self, *arguments: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", *arguments)

    def path(self, path: str) -> pathlib.Path:
        """A file of the running container, as it sees it: also what lies on its own tmpfs."""
        return pathlib.Path(f"/proc/{self.init}/root") / path.lstrip("/")

    def status(self, pid: int) -> "dict[str, str]":
        """/proc/PID/status of one of its processes."""
        lines = self.run("cat", f"/proc/{pid}/status").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def until(self, good, what: str, limit: float = 60):
        """Waits until good() is true; its value comes back."""
        deadline = time.monotonic() + limit
        while not (value := good()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}\n" + self.journal("--lines=60"))
            time.sleep(0.05)
        return value


class ContainedStation(Station):
    """The daemon of a container, as tests/lib/berthd.py sees its own: started and stopped by systemd."""

    def __init__(self, container: Container, server: Azurite):  # pylint: disable=super-init-not-called
        self.container, self.server, self.docked, self.names = container, server, {}, ["1"]
        self.process = container.process
        self.folder = container.path("/srv/bays")

    @property
    def socket(self) -> pathlib.Path:
        return self.container.path("/run/berth/berthd.sock")

    def answers(self) -> bool:
        try:
            return "version" in self.get("/v1/station")
        except OSError:
            return False

    def dock(self, image: pathlib.Path, bay: str) -> None:
        """Complete at once, and readable by the daemon."""
        arriving = self.folder / image.name
        shutil.copyfile(image, arriving)
        arriving.chmod(0o644)
        self.docked[bay] = arriving.rename(self.folder / bay / image.name)

    def log(self) -> str:
        return self.container.journal("--lines=100")
