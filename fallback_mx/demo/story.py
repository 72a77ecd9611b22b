"""`fallback-mx demo`: the primary goes away, 200 letters arrive here, the primary comes back, all of them get there.

The exit code is 0 only if every letter that was answered with 250 reached the primary once, byte for byte, and if what
the record says of the outage agrees with what the demo did.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fallback_mx.demo.check import faults
from fallback_mx.demo.mail import DOMAIN, DemoMessage, letters, send
from fallback_mx.demo.primary import Primary
from fallback_mx.demo.stage import Service, StageError

SENDERS = 8
WAIT_SECONDS = 60.0


def run(console: Console | None = None) -> int:
    """Play the story; 0 if it ended well."""
    console = console or Console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fallback-mx-demo-") as directory:
        primary = Primary()
        primary.answer()
        service = Service(Path(directory), primary.port)
        try:
            wrong = _play(console, primary, service)
        except StageError as error:
            wrong = [str(error)]
        finally:
            stopped = service.stop()
            primary.close()
    if stopped != 0:
        wrong.append(f"the service ended with code {stopped}")
    for sentence in wrong:
        console.print(f"[bold red]✗[/] {sentence}", highlight=False)
    if not wrong:
        console.print(
            f"[bold green]✓[/] Every letter that was answered with 250 arrived once, byte for byte "
            f"({time.monotonic() - began:.0f} s).",
            highlight=False,
        )
    return 1 if wrong else 0


def _play(console: Console, primary: Primary, service: Service) -> list[str]:
    say = _narrator(console)
    say("Writing 200 letters, 1 kB to 5 MB, 8-bit, with dots, for one to five recipients")
    mail = list(letters())
    say(f"Starting Fallback MX (second MX of {DOMAIN}) and its primary")
    service.start()
    service.wait_for_state("up", WAIT_SECONDS)
    refusal = send("127.0.0.1", service.smtp_port, mail[:1])[mail[0].number]
    say(f"The primary is up, so a sender that comes to us is sent there: [dim]{refusal}[/]")
    primary.go_away()
    service.wait_for_state("down", WAIT_SECONDS)
    say("[red]The primary is gone.[/] Senders now deliver to us:")
    replies = _receive(console, service, mail)
    say(f"All senders are done: {sum(r.startswith('250') for r in replies.values())} letters got a 250 and are on disk")
    primary.answer()
    say("[green]The primary answers again.[/] The queue drains by itself:")
    _drain(console, primary, service, len(mail))
    console.print()
    service.show("outage", "list")
    console.print()
    wrong = faults(mail, replies, primary.arrivals())
    spans = service.status()["outages"]
    if len(spans) != 1 or spans[0]["ended_at"] is None:
        wrong.append(f"there was one outage, and the record has {spans}")
    return wrong


def _narrator(console: Console) -> Callable[[str], None]:
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    return say


def _bar() -> Progress:
    return Progress(TextColumn("         {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


@contextmanager
def _shown(bar: Progress, console: Console) -> Iterator[None]:
    with Live(bar, console=console, refresh_per_second=10):
        yield
    if not console.is_terminal:
        # Into a file or a pipe rich writes the bar once, at its end, and no line end behind it.
        console.print()


def _receive(console: Console, service: Service, mail: list[DemoMessage]) -> dict[int, str]:
    """Deliver to the relay over several connections, and show the queue growing."""
    bar = _bar()
    queued = bar.add_task("in the queue", total=len(mail))
    with _shown(bar, console), ThreadPoolExecutor(SENDERS) as senders:
        work = [senders.submit(send, "127.0.0.1", service.smtp_port, mail[n::SENDERS]) for n in range(SENDERS)]
        while not all(each.done() for each in work):
            bar.update(queued, completed=_queued(service))
            time.sleep(0.1)
        replies = {number: reply for done in work for number, reply in done.result().items()}
        accepted = sum(reply.startswith("250") for reply in replies.values())
        # The status may be a second old: look on until it shows what was accepted.
        deadline = time.monotonic() + 5
        while (count := _queued(service)) < accepted and time.monotonic() < deadline:
            time.sleep(0.1)
        bar.update(queued, completed=count)
    if count != accepted:
        raise StageError(f"{accepted} letters got a 250, and the queue shows {count}")
    return replies


def _queued(service: Service) -> int:
    return int(service.primary()["queue"]["messages"])


def _drain(console: Console, primary: Primary, service: Service, count: int) -> None:
    """Show the queue emptying, until nothing waits. Raises StageError if it does not."""
    bar = _bar()
    arrived = bar.add_task("at the primary", total=count)
    deadline = time.monotonic() + WAIT_SECONDS
    with _shown(bar, console):
        while time.monotonic() < deadline:
            bar.update(arrived, completed=primary.count)
            state = service.primary()
            if state["queue"]["messages"] == 0 and state["state"] == "up":
                return
            time.sleep(0.1)
    raise StageError(f"the queue did not drain within {WAIT_SECONDS:.0f} s:\n{service.log_tail()}")
