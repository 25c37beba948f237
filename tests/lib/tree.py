# SPDX-License-Identifier: GPL-3.0-or-later
"""What meson installs, in a folder of its own."""
import functools
import json
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ["BERTH_SOURCE"])
BUILD = pathlib.Path(os.environ["BERTH_BUILD"])


def skip(why: str) -> None:
    print(f"SKIP: cannot run here: {why}")
    sys.exit(77)


@functools.cache
def _options() -> dict[str, str]:
    told = subprocess.run(["meson", "introspect", "--buildoptions", str(BUILD)],
                          capture_output=True, text=True, timeout=60, check=True)
    return {option["name"]: option["value"] for option in json.loads(told.stdout)}


def prefix() -> str:
    return _options()["prefix"]


def option(name: str) -> str:
    """A folder's option with its prefix: "/usr/local/etc"."""
    return str(pathlib.PurePosixPath(prefix()) / _options()[name])


def install(root: pathlib.Path, build: pathlib.Path = BUILD) -> pathlib.Path:
    """Installs what was built into `root`."""
    run = subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", str(root)],
                         capture_output=True, text=True, timeout=120, check=False)
    if run.returncode != 0:
        raise AssertionError(f"meson install: {run.stdout}{run.stderr}")
    return root
