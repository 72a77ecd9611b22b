"""Lists that are kept fresh, and questions to the primary: on a real database, with real files and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from fallback_mx.recipients.addresses import Address, parse
from fallback_mx.recipients.importing import Imported
from fallback_mx.recipients.inquiry import Inquiry
from fallback_mx.recipients.refresh import Refresher, RefreshSettings
from fallback_mx.recipients.sources import FileSource, SourceFailed
from fallback_mx.rules.recipients import Source, Verdict
from fallback_mx.smtp.callahead import Answers
from mxqueue import QueueError
from tests.fakes.knowledge import DOMAINS, TABLES, Library
from tests.fakes.tables import lay

BOB = parse("bob@example.org")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    one = Library(lay(tmp_path / "queue.db", TABLES))
    yield one
    one.queue.close()


class Told:
    """What a refresher has said, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def imported(self, primary: str, imported: Imported) -> None:
        self.said.append(f"imported {imported.addresses}")

    def trouble(self, primary: str, part: str, error: SourceFailed | QueueError) -> None:
        assert error.advice
        self.said.append(f"trouble {part}: {error}")

    def recovered(self, primary: str, part: str) -> None:
        self.said.append(f"recovered {part}")


class Desk:
    """A refresher of the file `recipients`, or of none."""

    def __init__(self, library: Library, directory: Path, *, has_source: bool = True, every: float = 900) -> None:
        self.path = directory / "recipients"
        self.told = Told()
        settings = RefreshSettings("main", DOMAINS, timedelta(seconds=every), timedelta(days=1))
        self.threads = ThreadPoolExecutor(1)
        self.refresher = Refresher(
            settings,
            FileSource(self.path) if has_source else None,
            library.importer,
            library.book,
            self.threads,
            self.told,
            library.clock,
        )

    def close(self) -> None:
        self.threads.shutdown()


def with_desk(
    library: Library, directory: Path, work: Callable[[Desk], Awaitable[None]], *, has_source: bool = True
) -> list[str]:
    async def run() -> list[str]:
        desk = Desk(library, directory, has_source=has_source)
        try:
            async with asyncio.timeout(30):
                await work(desk)
        finally:
            desk.close()
        return desk.told.said

    return asyncio.run(run())


# Refreshing -----------------------------------------------------------------------------------------------------


def test_a_changed_file_is_in_force_after_the_next_reading(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.path.write_text("bob@example.org\n")
        assert await desk.refresher.refresh()
        assert library.verdict("alice@example.org") == "bad"
        desk.path.write_text("bob@example.org\nalice@example.org\n")
        assert await desk.refresher.refresh()
        assert library.verdict("alice@example.org") == "good"
        assert await desk.refresher.refresh()

    assert with_desk(library, tmp_path, work) == ["imported 1", "imported 2"]


def test_a_source_that_fails_is_trouble_once_and_its_return_is_said_once(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.path.write_text("bob@example.org\n")
        await desk.refresher.refresh()
        desk.path.unlink()
        for _ in range(3):
            assert not await desk.refresher.refresh()
            assert library.verdict("alice@example.org") == "bad"
        desk.path.write_text("bob@example.org\n")
        for _ in range(2):
            assert await desk.refresher.refresh()

    assert with_desk(library, tmp_path, work) == [
        "imported 1",
        f"trouble source: {tmp_path}/recipients: there is no such file",
        "recovered source",
    ]


def test_a_list_that_goes_stale_is_trouble_once_and_makes_nobody_bad(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.path.write_text("bob@example.org\n")
        await desk.refresher.refresh()
        desk.path.unlink()
        for hours in (23, 1, 1):
            library.clock.advance(hours=hours)
            await desk.refresher.refresh()
        assert library.verdict("alice@example.org") == "unknown"
        assert library.verdict("bob@example.org") == "good"
        desk.path.write_text("bob@example.org\n")
        await desk.refresher.refresh()
        assert library.verdict("alice@example.org") == "bad"

    assert [said.partition(":")[0] for said in with_desk(library, tmp_path, work)] == [
        "imported 1",
        "trouble source",
        "trouble age",
        "recovered source",
        "recovered age",
    ]


def test_a_list_that_was_imported_by_hand_is_watched_for_its_age(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        await desk.refresher.refresh()
        library.take(["bob@example.org"])
        await desk.refresher.refresh()
        library.clock.advance(days=1)
        await desk.refresher.refresh()

    (said,) = with_desk(library, tmp_path, work, has_source=False)
    assert said.startswith("trouble age: the list of 1 addresses was last confirmed at 2026-03-01 12:00 UTC")


def test_a_suspicious_list_is_trouble_and_the_old_one_stays(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.path.write_text("".join(f"user{number}@example.org\n" for number in range(20)))
        await desk.refresher.refresh()
        desk.path.write_text("user1@example.org\n")
        await desk.refresher.refresh()
        assert library.verdict("user7@example.org") == "good"

    said = with_desk(library, tmp_path, work)
    assert said[1] == "trouble source: it holds 1 of what were 20 addresses; the old list is kept"


def test_bad_lines_are_trouble_and_named_and_the_rest_is_in_force(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.path.write_text("bob@example.org\nalice\ncarol@example.org\n")
        for _ in range(2):
            assert await desk.refresher.refresh()
        assert library.verdict("carol@example.org") == "good"
        desk.path.write_text("bob@example.org\ncarol@example.org\n")
        await desk.refresher.refresh()

    assert with_desk(library, tmp_path, work) == [
        "imported 2",
        "trouble lines: lines that are no address: 1, the first is line 2: 'alice': there is no @ in it",
        "imported 2",
        "recovered lines",
    ]


def test_running_it_reads_at_once_and_when_it_is_woken(library: Library, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        desk.path.write_text("bob@example.org\n")
        running = asyncio.create_task(desk.refresher.run())
        while desk.told.said != ["imported 1"]:
            await asyncio.sleep(0.01)
        desk.path.write_text("bob@example.org\nalice@example.org\n")
        while desk.told.said != ["imported 1", "imported 2"]:
            desk.refresher.wake()
            await asyncio.sleep(0.01)
        running.cancel()

    with_desk(library, tmp_path, work)


# Asking ---------------------------------------------------------------------------------------------------------


class Primary:
    """Answers as it is told, when it is told."""

    def __init__(self, verdict: Verdict = Verdict.GOOD, domain: Verdict = Verdict.BAD) -> None:
        self.answers = Answers(verdict, domain)
        self.asked: list[tuple[str, str, Verdict]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, local: str, domain: str, of_made_up: Verdict) -> Answers:
        self.asked.append((local, domain, of_made_up))
        await self.may_answer.wait()
        return self.answers


def inquire(library: Library, primary: Primary | None, wait_seconds: float = 20.0) -> Inquiry:
    return Inquiry("main", library.book, primary.ask if primary else None, library.clock, wait_seconds)


def test_an_unknown_recipient_is_asked_for_and_the_answer_is_kept(library: Library) -> None:
    async def run() -> None:
        primary = Primary()
        inquiry = inquire(library, primary)
        known = await inquiry.known(BOB, may_ask=True)
        assert (known.verdict, known.source) == (Verdict.GOOD, Source.CALL_AHEAD)
        assert (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.GOOD
        assert primary.asked == [("bob", "example.org", Verdict.UNKNOWN)]
        await inquiry.known(parse("carol@example.org"), may_ask=True)
        # That made-up addresses are refused is known by now.
        assert primary.asked[1] == ("carol", "example.org", Verdict.BAD)

    asyncio.run(run())


def test_a_primary_that_is_not_up_is_not_asked(library: Library) -> None:
    async def run() -> None:
        primary = Primary()
        assert (await inquire(library, primary).known(BOB, may_ask=False)).verdict is Verdict.UNKNOWN
        assert (await inquire(library, None).known(BOB, may_ask=True)).verdict is Verdict.UNKNOWN
        assert primary.asked == []

    asyncio.run(run())


def test_a_sender_waits_no_longer_than_it_must_and_the_question_goes_on(library: Library) -> None:
    async def run() -> None:
        primary = Primary(Verdict.BAD)
        primary.may_answer.clear()
        inquiry = inquire(library, primary, wait_seconds=0.05)
        # A second sender meanwhile asks nothing anew.
        async with asyncio.timeout(8):
            for _ in range(2):
                assert (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.UNKNOWN
        primary.may_answer.set()
        while library.book.unwritten == 0:
            await asyncio.sleep(0.01)
        assert (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.BAD
        assert len(primary.asked) == 1

    asyncio.run(run())


def test_what_is_known_and_grows_old_is_asked_for_behind_the_senders_back(library: Library) -> None:
    async def run() -> None:
        library.book.learn("main", BOB, Verdict.GOOD, Source.DELIVERY)
        library.clock.advance(days=8)
        primary = Primary(Verdict.BAD)
        primary.may_answer.clear()
        inquiry = inquire(library, primary)
        assert (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.GOOD
        await asyncio.sleep(0)
        assert len(primary.asked) == 1
        primary.may_answer.set()
        while (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.GOOD:
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_what_a_list_says_is_not_asked_for(library: Library) -> None:
    async def run() -> None:
        library.take(["bob@example.org"])
        primary = Primary()
        inquiry = inquire(library, primary)
        for name, verdict in (("bob", Verdict.GOOD), ("carol", Verdict.BAD), ("postmaster", Verdict.GOOD)):
            assert (await inquiry.known(Address(name, "example.org"), may_ask=True)).verdict is verdict
        assert primary.asked == []

    asyncio.run(run())


def test_a_catch_all_is_learned_for_the_domain_and_not_for_the_address(library: Library) -> None:
    async def run() -> None:
        primary = Primary(Verdict.CATCH_ALL, Verdict.CATCH_ALL)
        inquiry = inquire(library, primary)
        assert (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.CATCH_ALL
        assert (await inquiry.known(parse("alice@example.org"), may_ask=True)).verdict is Verdict.CATCH_ALL
        assert len(primary.asked) == 1
        assert library.book.unwritten == 1

    asyncio.run(run())


def test_without_an_answer_nothing_is_learned(library: Library) -> None:
    async def run() -> None:
        inquiry = inquire(library, Primary(Verdict.UNKNOWN, Verdict.UNKNOWN))
        assert (await inquiry.known(BOB, may_ask=True)).verdict is Verdict.UNKNOWN
        assert library.book.unwritten == 0

    asyncio.run(run())


def test_stopping_ends_the_questions_under_way(library: Library) -> None:
    async def run() -> None:
        primary = Primary()
        primary.may_answer.clear()
        inquiry = inquire(library, primary, wait_seconds=0.01)
        await inquiry.known(BOB, may_ask=True)
        await inquiry.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
