"""Mail servers that Debian does not let stand beside Postfix: unpacked into `.peers`, run where they believe in it.

Such a program has its directories and its users written into it. It gets a mount namespace of its own in which these
are the test's (`mounts`, `users`), so that nothing is installed, nobody is added to the machine and what it keeps goes
with the temporary directory. It also gets a process namespace: whatever it starts ends with it, be it killed or not.
Both need root.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

UNPACKED = Path(__file__).parents[2] / ".peers"

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# In its namespace: put the pairs of directories, or files, in their places, then become the program.
ENTER = """\
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"
"""
FIRST_ID = 64_990


def missing(package: str, program: str) -> str | None:
    """What keeps a program of this package from running here, or None."""
    if not (UNPACKED / package / program.lstrip("/")).exists():
        return f"{package} is not in .peers (Debian package: {package}; .ci/unpack-peers gets it)"
    if os.geteuid() != 0:
        return f"not root, and {package} (Debian package: {package}) starts only as root"
    tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces for {package} on this machine: {tried.stderr.strip()}"


class Unpacked:
    """A server of a package, from `start()` to `remove()`, with a temporary directory of its own.

    `users` are the accounts that it expects; `mounts` says which directory, made below the temporary one, it sees
    where. Its standard output and error are in `log_file`.
    """

    def __init__(self, package: str, *, users: Sequence[str], mounts: Mapping[str, str]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{package}-"))
        self.directory.chmod(0o755)  # the server works as users of its own
        self.log_file = self.directory / "log"
        self.ids = {user: FIRST_ID + number for number, user in enumerate(users)}
        self._mounts = self._accounts()
        for place in ("usr/sbin", "usr/libexec"):  # its own programs, and what these start
            if (UNPACKED / package / place).exists():
                self._mounts += [UNPACKED / package / place, Path("/") / place]
        for name, place in mounts.items():
            (self.directory / name).mkdir()
            self._mounts += [self.directory / name, Path(place)]
        self._process: subprocess.Popen[bytes] | None = None

    def _accounts(self) -> list[Path]:
        """The machine's accounts and these."""
        passwd = "".join(f"{user}:x:{number}:{number}::/nonexistent:/bin/false\n" for user, number in self.ids.items())
        group = "".join(f"{user}:x:{number}:\n" for user, number in self.ids.items())
        mounts = []
        for name, added in (("passwd", passwd), ("group", group)):
            place = Path("/etc") / name
            (self.directory / name).write_text(place.read_text() + added)
            mounts += [self.directory / name, place]
        return mounts

    def make(self, directory: str, owner: int = 0) -> None:
        """A directory below the temporary one."""
        path = self.directory / directory
        path.mkdir(parents=True)
        os.chown(path, owner, owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"{self.directory.name}: log ends:\n{self.log_tail()}")
        self.remove()

    def start(self, port: int, *command: str) -> None:
        """Runs the command in the foreground of its namespace; returns once the port answers with a banner."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._enclosed(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        deadline = time.monotonic() + 20
        while not _answers(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{command[0]} does not answer on port {port}:\n{self.log_tail()}")
            time.sleep(0.05)

    def ask(self, *command: str) -> str:
        """What another command prints, run in the same surroundings."""
        done = subprocess.run(self._enclosed(command), capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def _enclosed(self, command: Sequence[str]) -> list[str]:
        return [*NAMESPACES, "sh", "-euc", ENTER, "sh", *map(str, self._mounts), "--", *command]

    def stop(self) -> None:
        """What it keeps stays; `start` begins again with it."""
        if self._process is not None:
            # The first process of the namespace takes all the others with it, and is gone only when they are.
            for first in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
                os.kill(int(first), signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self, lines: int = 30) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(512).startswith(b"220 ")
    except OSError:
        return False
