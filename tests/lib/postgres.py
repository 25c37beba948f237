# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of our own: on a Unix socket in a temporary folder, as a user without rights.

    with Postgres() as server:
        server.url("hub")          # an empty schema of that name
        server.restart()
"""
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import urllib.parse

DATABASE = "postgres"
USER = "berth"


def programs():
    """The folder of the server's programs, which Debian keeps off the path; None when there is none."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    postgres = shutil.which("postgres")
    return pathlib.Path(postgres).resolve().parent if postgres else None


class Postgres:
    def __init__(self, durable: bool = False):
        """`durable`: against a stop of the machine, too; tests stop the server only."""
        self.durable = durable
        self.programs = programs()
        self.process = None
        # The server refuses to run as root.
        self.user = pwd.getpwnam("nobody") if os.getuid() == 0 else None

    def as_user(self, command, **more):
        if self.user:
            more |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, start_new_session=True,
                                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, **more)

    def run(self, *command):
        process = self.as_user([str(self.programs / command[0]), *command[1:]], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        said, _ = process.communicate(timeout=120)
        if process.returncode:
            raise RuntimeError(f"{command[0]}: {said}")

    def __enter__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="berth-pg-")
        self.folder = pathlib.Path(self.holder.name)
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.run("initdb", "--pgdata", "data", "--username", USER, "--auth", "trust", "--encoding", "UTF8",
                 "--locale", "C", "--no-sync", "--no-instructions")
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self.holder.cleanup()

    def start(self):
        self.run("pg_ctl", "start", "--pgdata", "data", "--wait", "--timeout", "60", "--silent", "--log", "log",
                 "--options", f"-k {self.folder} -c listen_addresses= -c max_connections=40 -c shared_buffers=32MB "
                 f"-c fsync={'on' if self.durable else 'off'} -c client_min_messages=warning")

    def stop(self, mode="immediate"):
        """Without goodbye, as when the machine goes down."""
        self.run("pg_ctl", "stop", "--pgdata", "data", "--mode", mode, "--wait", "--silent")

    def restart(self):
        self.stop()
        self.start()

    def ask(self, text):
        """The rows that a statement gives, as lists of texts."""
        done = subprocess.run([str(self.programs / "psql"), "--host", self.folder, "--username", USER, "--dbname",
                               DATABASE, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", text],
                              capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return [line.split("|") for line in done.stdout.splitlines()]

    def base(self):
        return f"postgresql:///{DATABASE}?host={urllib.parse.quote(str(self.folder), safe='')}&user={USER}"

    def url(self, schema):
        self.ask(f'CREATE SCHEMA "{schema}"')
        return f"{self.base()}&options=-csearch_path%3D{schema}"
