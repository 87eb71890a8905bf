"""Nothing needs what only some systems have: modules and flags of POSIX, file names of Linux."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fdvs

HIDDEN = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty")
EXTRAS = ("torch", "ray", "mcp")  # not of the default install; they look at the system themselves
LACKING = (
    *("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY", "O_NOCTTY", "O_SYNC"),
    *("fork", "forkpty", "geteuid", "getuid", "getgid", "getegid", "setsid", "getpgid", "killpg"),
    *("mkfifo", "chown", "fchmod", "sched_getaffinity", "statvfs", "getloadavg", "uname"),
    *("set_blocking", "posix_fadvise", "register_at_fork", "wait4"),
)
PROGRAM = """
import importlib, os, pkgutil, subprocess, signal, sys
from pathlib import Path
# what looks at the system for itself
import asyncio, concurrent.futures, logging, multiprocessing, random, socket, tempfile
import numpy, PIL.Image, filelock, typer, yaml
hidden, lacking, extras = (set(one.split(",")) for one in sys.argv[1:4])

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in hidden | extras:
            raise ModuleNotFoundError(f"no module named {name!r} here", name=name)

for name in hidden:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hide())
for name in lacking:
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "pthread_kill", "alarm"):
    if hasattr(signal, name):
        delattr(signal, name)
num, without = 0, []
import fdvs
for module in pkgutil.walk_packages(fdvs.__path__, "fdvs."):
    try:
        importlib.import_module(module.name)
        num += 1
    except ModuleNotFoundError as error:
        if error.name in hidden:
            raise
        without.append(f"{module.name}: {error.name}")  # a package of an extra
from fdvs.files import read_regular, write_whole
from fdvs.media.files import check_file
place = Path(sys.argv[4])
write_whole(place, b"a\\r\\nb")
assert read_regular(place, max_bytes=10) == b"a\\r\\nb"
assert check_file(place) == place
from fdvs.pipelines.cli import signals
signals.interrupt_main()
print(num, *without, sep="\\n")
"""


def test_every_module_is_imported_without_what_only_posix_has(tmp_path: Path) -> None:
    line = [sys.executable, "-P", "-c", PROGRAM, ",".join(HIDDEN), ",".join(LACKING)]
    line.append(",".join(EXTRAS))
    done = subprocess.run([*line, str(tmp_path / "file")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    num, *without = done.stdout.splitlines()
    assert int(num) > 250, without
    package = Path(str(fdvs.__file__)).parent
    assert int(num) + len(without) > len(list(package.rglob("*.py"))) // 2


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("con.mp4", "con_video"),
        ("NUL.tar.mp4", "NUL_video"),
        ("com1.mkv", "com1_video"),
        ("console.mp4", "console"),
        ('what? "a<b>c|d*".mp4', "what_a_b_c_d"),
        ("back\\slash:colon.mp4", "back_slash_colon"),
        ("ends with dots....mp4", "ends_with_dots"),
        ("???.mp4", "video"),
        ("Grüße 日本.mp4", "Grüße_日本"),
    ],
)
def test_files_of_an_export_have_names_that_windows_takes(name: str, written: str) -> None:
    from fdvs.pipelines.cli.export import _file_name

    assert _file_name(name) == written
