"""The book of recipients on a real SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from fallback_mx.recipients import listed, records, schema
from fallback_mx.recipients.addresses import parse
from fallback_mx.recipients.book import Book
from fallback_mx.recipients.importing import Importer, Suspicious
from fallback_mx.recipients.records import Which
from fallback_mx.recipients.sources import SourceFailed
from fallback_mx.rules.recipients import Facts, Source, Verdict
from mxqueue import QueueError
from tests.fakes.knowledge import TABLES, GivenSource, Library
from tests.fakes.tables import lay

BOB = parse("bob@example.org")


@pytest.fixture(params=["sqlite", "postgresql"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    sqlite = request.param == "sqlite"
    one = Library(lay(tmp_path / "queue.db", TABLES) if sqlite else request.getfixturevalue("postgres_url"))
    yield one
    one.queue.close()


def learn(library: Library, address: str, verdict: Verdict, source: Source = Source.DELIVERY) -> None:
    library.book.learn("main", parse(address), verdict, source)


def write(library: Library) -> None:
    while library.book.write().result(30) > 0:
        pass


# The tables -----------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_of_the_schema(library: Library) -> None:
    ours = set(schema.metadata.tables)

    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))

    assert library.queue.read(differences).result() == []


# Looking up -----------------------------------------------------------------------------------------------------


def test_of_an_address_nobody_spoke_of_nothing_is_known(library: Library) -> None:
    known = library.known("bob@example.org")
    assert (known.verdict, known.source, known.wants_asking) == (Verdict.UNKNOWN, None, True)


def test_a_list_makes_good_and_bad_in_the_domains_that_it_names(library: Library) -> None:
    library.take(["bob@example.org", "@example.net"])
    assert library.verdict("Bob@EXAMPLE.org.") == "good"
    assert library.verdict("bob+news@example.org") == "good"
    assert library.verdict("alice@example.org") == "bad"
    assert library.verdict("alice@example.net") == "catch-all"


def test_a_domain_that_no_list_names_is_unknown(library: Library) -> None:
    library.take(["bob@example.org"])
    assert library.verdict("alice@example.net") == "unknown"


def test_postmaster_is_good_whatever_the_list_says(library: Library) -> None:
    library.take(["bob@example.org"])
    assert library.verdict("PostMaster@example.org") == "good"


def test_a_primarys_list_says_nothing_of_anothers_recipients(library: Library) -> None:
    library.take(["bob@example.org"])
    assert library.verdict("bob@example.org", "other") == "unknown"


def test_a_list_that_is_not_confirmed_goes_stale_and_makes_nobody_bad(library: Library) -> None:
    library.take(["bob@example.org"])
    library.clock.advance(days=1)
    assert library.verdict("alice@example.org") == "unknown"
    assert library.verdict("bob@example.org") == "good"


def test_staleness_needs_no_new_reading(library: Library) -> None:
    library.take(["bob@example.org"])
    assert library.verdict("alice@example.org") == "bad"
    library.clock.advance(hours=24)
    assert library.verdict("alice@example.org") == "unknown"


# Learning -------------------------------------------------------------------------------------------------------


def test_what_is_learned_is_known_at_once_and_on_record_once_written(library: Library) -> None:
    assert library.verdict("bob@example.org") == "unknown"
    learn(library, "bob@example.org", Verdict.GOOD)
    assert library.verdict("bob@example.org") == "good"
    assert library.verdict("bob@example.org", book=library.other_book()) == "unknown"
    write(library)
    assert library.verdict("bob@example.org", book=library.other_book()) == "good"
    assert library.book.unwritten == 0


def test_lessons_are_about_the_address_as_it_was_written(library: Library) -> None:
    learn(library, "Bob@example.org", Verdict.BAD)
    write(library)
    assert (library.verdict("Bob@example.org"), library.verdict("bob@example.org")) == ("bad", "unknown")


def test_each_source_keeps_its_last_lesson(library: Library) -> None:
    for minutes, verdict, source in (
        (0, Verdict.GOOD, Source.DELIVERY),
        (1, Verdict.BAD, Source.CALL_AHEAD),
        (1, Verdict.BAD, Source.DELIVERY),
        (1, Verdict.GOOD, Source.DELIVERY),
    ):
        library.clock.advance(minutes=minutes)
        learn(library, "bob@example.org", verdict, source)
        write(library)
    facts = library.other_book().facts("main", BOB).result()
    assert {(each.source, each.verdict) for each in facts.lessons} == {
        (Source.DELIVERY, Verdict.GOOD),
        (Source.CALL_AHEAD, Verdict.BAD),
    }


def test_a_lesson_that_repeats_a_recent_one_changes_nothing_and_one_that_repeats_an_old_one_renews_it(
    library: Library,
) -> None:
    began = library.clock()
    for minutes, learned_at in ((0, began), (59, began), (62, began + timedelta(minutes=121))):
        library.clock.advance(minutes=minutes)
        learn(library, "bob@example.org", Verdict.GOOD)
        write(library)
        (lesson,) = library.other_book().facts("main", BOB).result().lessons
        assert lesson.learned_at == learned_at


def test_a_lesson_from_a_clock_that_was_wrong_is_replaced(library: Library) -> None:
    library.clock.advance(days=3650)
    learn(library, "bob@example.org", Verdict.BAD)
    write(library)
    library.clock.advance(days=-3650)
    assert library.verdict("bob@example.org", book=library.other_book()) == "unknown"
    learn(library, "bob@example.org", Verdict.GOOD)
    write(library)
    assert library.verdict("bob@example.org", book=library.other_book()) == "good"


def test_unknown_teaches_nothing(library: Library) -> None:
    learn(library, "bob@example.org", Verdict.UNKNOWN)
    assert library.book.unwritten == 0


def test_a_catch_all_domain_is_known_for_every_address_in_it(library: Library) -> None:
    assert library.verdict("alice@example.org") == "unknown"
    library.book.learn_domain("main", "example.org", Verdict.CATCH_ALL)
    assert library.verdict("alice@example.org") == "catch-all"
    write(library)
    assert library.verdict("alice@example.org", book=library.other_book()) == "catch-all"


def test_a_thousand_lessons_are_few_transactions(library: Library) -> None:
    for number in range(1000):
        learn(library, f"user{number}@example.org", Verdict.GOOD)
    assert library.book.write().result(30) == 500
    assert library.book.write().result(30) == 0
    assert library.verdict("user999@example.org", book=library.other_book()) == "good"


def test_lessons_that_cannot_be_written_are_kept(library: Library) -> None:
    learn(library, "bob@example.org", Verdict.GOOD)
    library.queue.writer.close()
    with pytest.raises(QueueError):
        library.book.write().result(30)
    assert library.book.unwritten == 1


def test_what_no_longer_counts_is_forgotten_and_the_rest_is_kept(library: Library) -> None:
    learn(library, "old@example.org", Verdict.GOOD)
    write(library)
    library.clock.advance(days=31, seconds=1)
    learn(library, "new@example.org", Verdict.GOOD)
    write(library)
    assert library.book.housekeep().result(30) == 1
    left = library.queue.read(lambda c: records.page_of_lessons(c, Which(), None, 10)).result()
    assert [each.address for each in left] == ["new@example.org"]


# What others change ---------------------------------------------------------------------------------------------


def test_a_list_that_another_process_imports_is_noticed(library: Library) -> None:
    assert library.verdict("alice@example.org") == "unknown"
    library.take(["bob@example.org"])
    library.notice()
    assert library.verdict("alice@example.org") == "bad"


def test_what_another_process_forgets_is_noticed(library: Library) -> None:
    learn(library, "bob@example.org", Verdict.BAD)
    write(library)
    assert library.verdict("bob@example.org") == "bad"
    library.notice()
    library.queue.writer.submit(lambda c: records.forget_address(c, "main", "bob", "example.org")).result()
    library.notice()
    assert library.verdict("bob@example.org") == "unknown"


def test_what_another_process_learns_is_seen_after_a_minute(library: Library) -> None:
    assert library.verdict("bob@example.org") == "unknown"
    other = library.other_book()
    other.learn("main", BOB, Verdict.GOOD, Source.DELIVERY)
    other.write().result()
    library.clock.advance(seconds=60)
    assert library.verdict("bob@example.org") == "good"


def test_what_was_read_before_a_change_that_has_been_noticed_is_not_remembered(library: Library) -> None:
    late: list[Callable[[], None]] = []

    def read(op: Callable[[Connection], Any]) -> Future[Any]:
        """Reads at once, and tells later where it is a reading of facts."""
        found = library.queue.read(op).result()
        answer: Future[Any] = Future()
        if isinstance(found, Facts):
            late.append(lambda: answer.set_result(found))
        else:
            answer.set_result(found)
        return answer

    book = Book(library.queue.writer.submit, read, clock=library.clock)
    before = book.lookup("main", BOB)
    library.take(["alice@example.org"])
    book.notice().result(30)
    late.pop()()
    assert before.result(30).verdict is Verdict.UNKNOWN
    after = book.lookup("main", BOB)
    late.pop()()
    assert after.result(30).verdict is Verdict.BAD


# Importing ------------------------------------------------------------------------------------------------------


def test_an_import_writes_the_difference(library: Library) -> None:
    first = library.take(["a@example.org", "b@example.org", "b@example.org", "c@example.org"])
    assert (first.addresses, first.added, first.removed, first.is_unchanged) == (3, 3, 0, False)
    second = library.take(["b@example.org", "c@example.org", "d@example.org"])
    assert (second.addresses, second.added, second.removed) == (3, 1, 1)
    library.notice()
    assert [library.verdict(f"{name}@example.org") for name in "abcd"] == ["bad", "good", "good", "good"]


def test_an_unchanged_list_is_confirmed_and_no_more(library: Library) -> None:
    library.take(["bob@example.org"])
    library.clock.advance(hours=23)
    again = library.take(["bob@example.org"])
    assert (again.is_unchanged, again.added, again.removed) == (True, 0, 0)
    library.clock.advance(hours=23)
    library.notice()
    assert library.verdict("alice@example.org") == "bad"


def test_domains_that_are_added_to_the_primary_make_the_list_anew(library: Library) -> None:
    source = GivenSource(b"bob@example.org\nbob@example.com\n")
    library.importer.take(source, library.order())
    order = library.order()
    more = type(order)(order.primary, order.domains | {"example.com"}, order.now)
    assert library.importer.take(source, more).added == 1
    library.notice()
    assert library.verdict("bob@example.com") == "good"


@pytest.mark.parametrize("new", [[], ["someone@example.com"], ["user1@example.org"], ["<html>", "</html>"]])
def test_a_list_that_would_undo_the_old_one_is_not_taken(library: Library, new: list[str]) -> None:
    library.take(f"user{number}@example.org" for number in range(100))
    with pytest.raises(Suspicious):
        library.take(new)
    library.notice()
    assert library.verdict("user50@example.org") == "good"


def test_a_suspicious_list_is_taken_when_forced(library: Library) -> None:
    library.take(f"user{number}@example.org" for number in range(100))
    done = library.take(["user1@example.org"], force=True)
    assert (done.addresses, done.removed) == (1, 99)
    library.notice()
    assert library.verdict("user50@example.org") == "bad"


def test_a_list_is_imported_in_pieces_and_an_import_that_ends_half_way_refuses_nobody(library: Library) -> None:
    library.take(["bob@example.org"])
    looks = iter(range(1000))
    stopping = Importer(library.queue.writer.submit, library.queue.read, lambda: next(looks) >= 4)
    new = [f"user{number}@example.org" for number in range(11_000)] + ["carol@example.net"]
    text = "".join(f"{address}\n" for address in sorted(new)).encode()
    with pytest.raises(SourceFailed, match="stopping"):
        stopping.take(GivenSource(text), library.order())
    library.notice()
    assert library.verdict("bob@example.org") == "good"
    assert library.verdict("nobody@example.org") == "bad"
    # The old list does not speak for this domain, although some of the new one's rows do.
    assert library.verdict("nobody@example.net") == "unknown"
    assert library.take(new).addresses == len(new)
    library.notice()
    assert library.verdict("nobody@example.net") == "bad"
    rows = library.queue.read(lambda c: listed.page_of_listed(c, Which("main"), None, 20_000)).result()
    assert len(rows) == len(new)


def test_of_two_imports_at_once_one_is_told_and_the_next_makes_the_list_whole(library: Library) -> None:
    library.take(["a@example.org", "b@example.org"])
    looks = iter(range(1000))

    def meddle() -> bool:
        # First asked while the list is copied, then before its addresses are written.
        if next(looks) == 1:
            library.take(["a@example.org", "d@example.org"])
        return False

    importer = Importer(library.queue.writer.submit, library.queue.read, meddle)
    with pytest.raises(SourceFailed, match="at the same time"):
        importer.take(GivenSource(b"a@example.org\nc@example.org\n"), library.order())
    assert not library.take(["a@example.org", "d@example.org"]).is_unchanged
    library.notice()
    assert [library.verdict(f"{name}@example.org") for name in "abcd"] == ["good", "bad", "bad", "good"]


def test_a_list_that_is_dropped_says_nothing_any_more(library: Library) -> None:
    library.take(["bob@example.org"])
    assert library.importer.drop("main")
    library.notice()
    assert library.verdict("alice@example.org") == "unknown"
    assert not library.importer.drop("main")


def test_the_last_good_list_is_there_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    first = Library(url)
    first.take(["bob@example.org"])
    first.queue.close()
    second = Library(url)
    assert (second.verdict("bob@example.org"), second.verdict("alice@example.org")) == ("good", "bad")
    second.queue.close()
