"""Postfix as a real peer: an instance of its own under a temporary directory, as backup exchanger, primary or sender.

Each instance has its own configuration, queue and data directory and listens on one port of 127.0.0.1, so that
nothing of the machine's own Postfix is read or touched. It needs root (Postfix changes users) and Debian's
`postfix`; `missing()` says in one line what is not there. When Postfix does not come up, its log is in the error.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.ports import free_port

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
proxywrite unix - - n -     1 proxymap
smtp      unix  - - n -     - smtp
relay     unix  - - n -     - smtp
showq     unix  n - n -     - showq
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
virtual   unix  - n n -     - virtual
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

# What every instance has. There may be no name service where the tests run, so nothing is looked up.
COMMON = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mydestination": "",
    "alias_maps": "",
    "alias_database": "",
    "smtpd_peername_lookup": "no",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "message_size_limit": "60000000",
    "mailbox_size_limit": "0",
}

QUEUES_WITH_MAIL = ("maildrop", "incoming", "active", "deferred")


def missing() -> str | None:
    """What keeps a Postfix instance from running here, or None."""
    if shutil.which("postfix", path=search_path()) is None:
        return "postfix is not installed (Debian package: postfix)"
    if os.geteuid() != 0:
        return "not root, and Postfix (Debian package: postfix) starts only as root"
    return None


def version() -> str:
    done = subprocess.run(
        ["postconf", "-hd", "mail_version"],
        env={**os.environ, "PATH": search_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/lib/postfix/sbin"])


class Postfix:
    """One instance. Start and stop it as often as the story wants; the queue and the port stay the same."""

    def __init__(self, settings: Mapping[str, str], *, name: str, log: bool = True) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"postfix-{name}-"))
        self.directory.chmod(0o755)  # the daemons run as the user postfix
        self.port = free_port()
        self.config = self.directory / "etc"  # apart from the queue: Postfix checks who owns what is in here
        self.config.mkdir()
        self.log_file = self.directory / "log"
        self.settings = {
            **COMMON,
            "myhostname": f"{name}.example.net",
            "queue_directory": str(self.directory / "queue"),
            "data_directory": str(self.directory / "data"),
            **settings,
        }
        if log:
            self.settings["maillog_file"] = str(self.log_file)
            self.settings["maillog_file_prefixes"] = str(self.directory)
        self._master_pid: int | None = None

    @classmethod
    def backup_exchanger(cls, domain: str, primary_port: int) -> Self:
        """A backup MX in an outage: mail is accepted and deferred until `end_of_outage()`. Not logged to a file."""
        return cls(
            {
                "mynetworks": "10.255.255.0/24",
                "relay_domains": domain,
                "relay_recipient_maps": "",
                "smtpd_relay_restrictions": "reject_unauth_destination",
                "transport_maps": f"inline:{{{domain}=relay:[127.0.0.1]:{primary_port}}}",
                "defer_transports": "relay, smtp",
                "default_process_limit": "200",
                "smtpd_client_connection_count_limit": "0",
                "in_flow_delay": "0s",
            },
            name="backup",
            log=False,
        )

    @classmethod
    def primary(cls, domain: str) -> Self:
        """A primary that delivers all mail of the domain into one Maildir, `maildir`."""
        nobody = pwd.getpwnam("nobody")
        instance = cls(
            {
                "mynetworks": "10.255.255.0/24",
                "virtual_mailbox_domains": domain,
                "virtual_mailbox_maps": "static:box/",
                "virtual_uid_maps": f"static:{nobody.pw_uid}",
                "virtual_gid_maps": f"static:{nobody.pw_gid}",
                "virtual_mailbox_limit": "0",
                "virtual_minimum_uid": "1",
            },
            name="primary",
        )
        mail = instance.directory / "mail"
        mail.mkdir()
        os.chown(mail, nobody.pw_uid, nobody.pw_gid)
        instance.settings["virtual_mailbox_base"] = str(mail)
        return instance

    @classmethod
    def sending_server(cls, relay_port: int) -> Self:
        """Somebody's mail server, whose only way to the domain is the relay. It tries again every second."""
        return cls(
            {
                "mynetworks": "127.0.0.0/8",
                "relayhost": f"[127.0.0.1]:{relay_port}",
                "queue_run_delay": "1s",
                "minimal_backoff_time": "1s",
                "maximal_backoff_time": "1s",
                # One refused connection must not set the next hop aside for longer than the test lasts.
                "transport_retry_time": "1s",
                "default_destination_concurrency_failed_cohort_limit": "100",
            },
            name="sender",
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"{self.settings['myhostname']} log ends:\n{self.log_tail()}")
        self.remove()

    @property
    def pid(self) -> int:
        """The master's: all others are its children."""
        assert self._master_pid is not None, "this instance is not running"
        return self._master_pid

    @property
    def maildir(self) -> Path:
        return self.directory / "mail" / "box"

    def messages(self) -> list[bytes]:
        """The content of everything delivered into the Maildir so far."""
        return [path.read_bytes() for path in sorted((self.maildir).glob("new/*"))]

    def start(self) -> None:
        """Returns once the port answers with a banner."""
        (self.directory / "queue").mkdir(exist_ok=True)
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        os.chown(data, pwd.getpwnam("postfix").pw_uid, -1)
        (self.config / "master.cf").write_text(MASTER_CF.format(port=self.port))
        self._write_main_cf()
        self.command("postfix", "start")
        self._master_pid = int((self.directory / "queue/pid/master.pid").read_text())
        self._await_banner()

    def stop(self) -> None:
        """Nothing of the instance runs any more when this returns."""
        if self._master_pid is None:
            return
        group, self._master_pid = self._master_pid, None
        subprocess.run(
            ["postfix", "-c", str(self.config), "stop"],
            env={**os.environ, "PATH": search_path()},
            capture_output=True,
            check=False,
        )
        _end_group(group)

    def answer(self) -> None:
        """`start`, by the name that it has for every primary."""
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def change(self, **settings: str) -> None:
        """Other settings, in force when this returns."""
        self.settings |= settings
        self._write_main_cf()
        self.stop()
        self.start()

    def reload(self, **settings: str) -> None:
        """Other settings for sessions that begin from now on."""
        self.settings |= settings
        self._write_main_cf()
        self.command("postfix", "reload")

    def end_of_outage(self) -> None:
        """Mail may go out again; what was deferred waits for `postqueue -f`."""
        self.reload(defer_transports="")

    def command(self, program: str, *arguments: str) -> str:
        """Runs one of Postfix's own commands on this instance and returns what it printed."""
        done = subprocess.run(
            [program, "-c", str(self.config), *arguments],
            env={**os.environ, "PATH": search_path()},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise RuntimeError(
                f"{program} {' '.join(arguments)} ended with {done.returncode}: {said}\n{self.log_tail()}"
            )
        return done.stdout

    def queued(self, *queues: str) -> Iterator[os.DirEntry[str]]:
        """Queue files in the named queues, or in all that hold mail. Lazy: asking whether there is one is cheap."""
        for queue in queues or QUEUES_WITH_MAIL:
            yield from _files(self.directory / "queue" / queue)

    def log_tail(self, lines: int = 30) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _write_main_cf(self) -> None:
        text = "".join(f"{name} = {value}\n" for name, value in self.settings.items())
        (self.config / "main.cf").write_text(text)

    def _await_banner(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(512).startswith(b"220 "):
                        connection.sendall(b"QUIT\r\n")
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"Postfix did not answer on port {self.port}:\n{self.log_tail()}")
            time.sleep(0.05)


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    yield entry
    except FileNotFoundError:
        return


def _end_group(group: int) -> None:
    """The master leads a process group of its own; whoever of it is left after a stop is ended here."""
    deadline = time.monotonic() + 10
    while True:
        try:
            os.killpg(group, 9 if time.monotonic() > deadline else 0)
        except ProcessLookupError:
            return
        if time.monotonic() > deadline + 5:
            raise TimeoutError(f"processes of group {group} do not end")
        time.sleep(0.05)
