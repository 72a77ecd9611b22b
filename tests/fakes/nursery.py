"""Processes that begin within milliseconds: forked from one that has imported what they need and does nothing else.

A `Nursery` is that process, `python -m tests.fakes.nursery MODULE…`; what it is asked for comes to it in lines of JSON.
A child runs one function from its beginning to the interpreter's end, as a program of its own would: with its own
arguments, environment, working directory and output, and nothing of the nursery's but the modules.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

REPOSITORY = str(Path(__file__).resolve().parents[2])


class Nursery:
    """One such process. Close it after its children: what is left of them is nobody's then."""

    def __init__(self, *modules: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([REPOSITORY, *sys.path])}
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.nursery", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def start(
        self,
        function: str,
        *arguments: str,
        output: Path | None = None,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        terminal: str | None = None,
    ) -> Child:
        """`module:function` in a process of its own, these arguments in sys.argv behind a name.

        Output and errors are added to these files; without `errors` both go to the first, without either to ours. With
        a `terminal`, by its path, all three streams are that.
        """
        born = {
            "function": function,
            "arguments": arguments,
            "output": output and str(output),
            "errors": errors and str(errors),
            "environment": dict(os.environ if environment is None else environment),
            "directory": str(directory or Path.cwd()),
            "terminal": terminal,
        }
        return Child(self, int(self.ask(born)))

    def ask(self, what: Mapping[str, object]) -> Any:
        with self._turn:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


class Child:
    """A process of the nursery's, with the ways of subprocess.Popen."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self._status: int | None = None
        self.pid = pid

    def poll(self) -> int | None:
        """The status it ended with, or that there is none yet. Negative: the signal that ended it."""
        if self._status is None:
            self._status = self._nursery.ask({"reap": self.pid})
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.poll() is None:
            # Until it is reaped its number stays its own.
            descriptor = os.pidfd_open(self.pid)
            try:
                waiting = select.poll()
                waiting.register(descriptor, select.POLLIN)
                waiting.poll(None if timeout is None else timeout * 1000)
            finally:
                os.close(descriptor)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self._status is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _attend() -> Callable[[], object]:
    """Serve until there is no more to do; in a child, return at once with what it is to run."""
    for line in sys.stdin.buffer:
        wanted = json.loads(line)
        if "reap" in wanted:
            pid, status = os.waitpid(wanted["reap"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return _settle(wanted)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    return lambda: None


def _settle(wanted: dict[str, Any]) -> Callable[[], object]:
    """Make this process one of its own: nothing of the nursery's stays but what it has imported."""
    os.environ.clear()
    os.environ.update(wanted["environment"])
    time.tzset()
    os.chdir(wanted["directory"])
    # Our words go by standard input and output: the child has neither.
    terminal, output, errors = wanted["terminal"], wanted["output"], wanted["errors"]
    _redirect(terminal or os.devnull, os.O_RDONLY, 0)
    if terminal is not None:
        for descriptor in (1, 2):
            _redirect(terminal, os.O_WRONLY, descriptor)
    elif output is None:
        os.dup2(2, 1)
    else:
        _redirect(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 1)
        os.dup2(1, 2)
    if errors is not None:
        _redirect(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 2)
    sys.argv = [sys.argv[0], *wanted["arguments"]]
    module, _, name = wanted["function"].partition(":")
    function: Callable[[], object] = getattr(importlib.import_module(module), name)
    return function


def _end(function: Callable[[], object]) -> NoReturn:
    """Run it, and do all that the interpreter does at its end but to take its modules apart: that is most of what a
    short command costs, since no page of them is shared with the nursery afterwards."""
    code = 0
    try:
        function()
    except SystemExit as error:
        if isinstance(error.code, str):
            raise
        code = error.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        code = code or 120  # as the interpreter has it
    sys.stderr.flush()
    os._exit(code)


def _redirect(path: str, flags: int, descriptor: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, descriptor)
    os.close(opened)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        importlib.import_module(each)
    gc.freeze()
    _end(_attend())
