"""What the service knows of recipients, built from a configuration: real files, a real database, a real primary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fallback_mx.config import Config
from fallback_mx.outages.schema import MIGRATIONS as OUTAGES
from fallback_mx.recipients.schema import MIGRATIONS
from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import Known, Source, Verdict
from fallback_mx.service.knowledge import Knowledge
from fallback_mx.smtp.sink import Sink, SinkSession
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from tests.fakes.tables import lay

NO_SUCH = "550 5.1.1 no such user"


def only_bob(session: SinkSession, path: str) -> str:
    return "250 2.1.5 Ok" if path == "bob@example.org" else NO_SUCH


class Service:
    """As much of a service as knows recipients."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sink = Sink(replies={"rcpt": only_bob})
        self.state = State.DOWN
        self.crashed = False

    def config(self, **keys: Any) -> Config:
        primary = {"name": "main", "domains": ["example.org"], "host": "127.0.0.1", "port": self.sink.port, **keys}
        return Config.model_validate({"server": {"hostname": "mx2.test"}, "primary": [primary]})

    def open_queue(self) -> Queue:
        tables = (QUEUE, OUTAGES, MIGRATIONS)
        url = lay(Path(self.directory) / "queue.db", tables)
        return Queue.open(url, node="mx2", exclusive=True, migrations=tables)

    async def start(self, **keys: Any) -> None:
        await self.sink.start()
        self.queue = self.open_queue()
        self.knowledge = Knowledge(self.queue, lambda name: self.state, self._on_crash)
        self.knowledge.configure(self.config(**keys))

    def _on_crash(self) -> None:
        self.crashed = True

    async def stop(self) -> None:
        await self.knowledge.stop()
        self.queue.close()
        await self.sink.stop()

    async def known(self, address: str) -> Known:
        return await self.knowledge.recipient("main", address)

    async def until(self, address: str, verdict: Verdict) -> Known:
        while (known := await self.known(address)).verdict is not verdict:
            await asyncio.sleep(0.02)
        return known


def serve(directory: Path, work: Callable[[Service], Awaitable[None]], **keys: Any) -> None:
    async def run() -> None:
        service = Service(directory)
        await service.start(**keys)
        try:
            async with asyncio.timeout(60):
                await work(service)
        finally:
            async with asyncio.timeout(40):
                await service.stop()
        assert not service.crashed

    asyncio.run(run())


def test_a_configured_file_decides_who_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipients").write_text("bob@example.org\n")

    async def work(service: Service) -> None:
        bad = await service.until("carol@example.org", Verdict.BAD)
        assert bad.source is Source.LIST
        assert (await service.known("Bob@example.org")).verdict is Verdict.GOOD

    serve(tmp_path, work, recipients_file=str(tmp_path / "recipients"))


def test_an_unknown_recipient_is_not_to_be_refused_for_a_list_that_was_never_read(tmp_path: Path) -> None:
    path = tmp_path / "recipients"

    async def work(service: Service) -> None:
        ask = service.knowledge.verdict
        assert await ask("main", "u@elsewhere.test", waits=True) is None
        path.write_text("bob@example.org\n")
        service.knowledge.configure(service.config(recipients_file=str(path), unknown_recipients="refuse"))
        await service.until("carol@example.org", Verdict.BAD)
        assert await ask("main", "u@elsewhere.test", waits=True) is Verdict.UNKNOWN

    serve(tmp_path, work, recipients_file=str(path), unknown_recipients="refuse")


def test_of_a_primary_that_is_not_there_nothing_is_said_for_now(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        assert await service.knowledge.verdict("other", "u@example.net", waits=True) is None

    serve(tmp_path, work)


def test_which_primaries_may_refuse_is_known_once_one_has_a_bad_recipient(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        service.knowledge.delivered("main", "bob@example.org")
        assert service.knowledge.refusing == frozenset()
        service.knowledge.refused("main", "carol@example.org", NO_SUCH)
        assert service.knowledge.refusing == {"main"}

    async def look(service: Service) -> None:
        while service.knowledge.refusing != {"main"}:
            await asyncio.sleep(0.02)

    serve(tmp_path, work)
    serve(tmp_path, look)


def test_the_primary_is_asked_while_it_is_up_and_only_then(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        assert (await service.known("carol@example.org")).verdict is Verdict.UNKNOWN
        assert service.sink.connection_count == 0
        service.state = State.UP
        known = await service.known("carol@example.org")
        assert (known.verdict, known.source) == (Verdict.BAD, Source.CALL_AHEAD)
        assert (await service.known("bob@example.org")).verdict is Verdict.GOOD
        service.state = State.DOWN
        assert (await service.known("carol@example.org")).verdict is Verdict.BAD

    serve(tmp_path, work, call_ahead_per_minute=6000)


def test_without_a_pace_the_primary_is_never_asked(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        service.state = State.UP
        assert (await service.known("carol@example.org")).verdict is Verdict.UNKNOWN
        assert service.sink.connection_count == 0

    serve(tmp_path, work)


def test_deliveries_teach_and_the_next_service_still_knows(tmp_path: Path) -> None:
    async def teach(service: Service) -> None:
        service.knowledge.delivered("main", "bob@example.org")
        service.knowledge.refused("main", "carol@example.org", NO_SUCH)
        service.knowledge.refused("main", "dave@example.org", "550 5.7.1 you are blocked")
        service.knowledge.refused("main", "erin@example.org", "the address is not ASCII")

    async def look(service: Service) -> None:
        names = ("bob", "carol", "dave", "erin")
        verdicts = [(await service.known(f"{name}@example.org")).verdict for name in names]
        assert verdicts == [Verdict.GOOD, Verdict.BAD, Verdict.UNKNOWN, Verdict.UNKNOWN]

    serve(tmp_path, teach)
    serve(tmp_path, look)


def test_the_list_outlives_a_restart_with_its_source_gone(tmp_path: Path) -> None:
    path = tmp_path / "recipients"
    path.write_text("bob@example.org\n")

    async def read(service: Service) -> None:
        await service.until("carol@example.org", Verdict.BAD)

    serve(tmp_path, read, recipients_file=str(path))
    path.unlink()
    serve(tmp_path, read, recipients_file=str(path))


def test_postmaster_is_good_with_and_without_a_domain_and_what_cannot_be_told_apart_is_unknown(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        assert (await service.known("Postmaster")).verdict is Verdict.GOOD
        assert (await service.known("postmaster@example.org")).verdict is Verdict.GOOD
        for address in ("", "bob", "bob@[192.0.2.1]"):
            assert (await service.known(address)).verdict is Verdict.UNKNOWN

    serve(tmp_path, work)


def test_a_stop_in_the_middle_of_a_slow_source_does_not_wait_for_it(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0.02)

    script = f"touch {tmp_path}/begun; sleep 300"
    serve(tmp_path, work, recipients_command=["/bin/sh", "-c", script])


def test_a_list_that_another_process_imports_is_noticed_within_a_look(tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        assert (await service.known("carol@example.org")).verdict is Verdict.UNKNOWN
        from tests.fakes.operator import Operator

        operator = Operator(tmp_path)
        (tmp_path / "by-hand").write_text("bob@example.org\n")
        result = await asyncio.to_thread(
            operator.run, "recipients", "import", "--primary", "main", str(tmp_path / "by-hand")
        )
        assert result.exit_code == 0, result.output
        await service.until("carol@example.org", Verdict.BAD)

    serve(tmp_path, work)
