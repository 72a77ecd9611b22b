"""The status page, a customer's own, feed, badges and /health over real sockets: what is there, and what never is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from fallback_mx.published.terms import Terms, digest
from fallback_mx.rules.draining import Phase
from fallback_mx.rules.health import Observation, State
from fallback_mx.status import Primary, Queued
from fallback_mx.web.app import Check
from fallback_mx.web.server import CONNECTIONS
from mxqueue import QueueUnavailable
from tests.fakes.face import Face, House
from tests.fakes.told import NOW, TOKEN, Told, drain, listed, named, night, quiet, record, samples, whole, window

ATOM = {"atom": "http://www.w3.org/2005/Atom"}
SCRIPT = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def started() -> Iterator[Face]:
    with Face() as one:
        yield one


@pytest.fixture
def face(started: Face) -> Face:
    return tell(started, night())


def tell(face: Face, told: Told) -> Face:
    house = House()
    house.told = told
    face.furnish(house)
    return face


class _Text(HTMLParser):
    """What a reader has of a page: its text and what stands for pictures, in one line."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words += (dict(attrs).get("aria-label") or "").split()


def text(face: Face, path: str = "/status") -> str:
    reader = _Text()
    reader.feed(html(face, path))
    return " ".join(reader.words)


def html(face: Face, path: str = "/status") -> str:
    status, headers, body = face.request(path)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    return body.decode()


def one(primary: Primary, of_one: object = None, **more: object) -> Told:
    """A page of a single primary, called main."""
    alone = listed("main", **more)  # type: ignore[arg-type]
    return Told(Terms(True, False, (alone,)), whole([(alone, primary, of_one or record("main"))]))  # type: ignore[list-item]


UP = Primary("main", State.UP, NOW - timedelta(days=3))


# --- what is on the page ----------------------------------------------------------------------------------------------


def test_the_page_begins_with_the_sentence(face: Face) -> None:
    first = re.search(r'<p class="sentence down">.*?<span>(.*?)</span>', html(face), re.DOTALL)
    assert first is not None
    assert unescape(first[1]).startswith(
        "connect-1 is down for 14 min (it refused the connection); 360 messages are safe"
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.UP, "Up for 3 days"),
        (State.FALLING, "Failing for 3 days"),
        (State.DOWN, "Down for 3 days"),
        (State.RISING, "Coming back for 3 days"),
        (State.UNKNOWN, "Unknown for 3 days"),
    ],
)
def test_each_state_is_said_in_words_beside_its_shape(face: Face, state: State, words: str) -> None:
    tell(face, one(replace(UP, state=state)))
    assert f"main {words}" in text(face)


def test_the_90_days_are_told_to_who_does_not_see_them(face: Face) -> None:
    found = text(face)
    assert "The last 90 days: up all of 88 days, down on 2 days" in found
    assert "The last 90 days: up all of 53 days, nobody watched on 36 days, maintenance on 1 day" in found
    assert "2 October : down 6 h 30 min" in found
    assert "9 November : nobody watched 3 h" in found


def test_each_kind_of_time_has_a_stroke_of_its_own(face: Face) -> None:
    page = html(face)
    for kind in ("up", "down", "maintenance", "unknown"):
        assert re.search(rf'<path class="{kind}" d="M\d', page), kind


def test_a_day_that_was_down_hangs_below_the_line_and_no_other_does(face: Face) -> None:
    bars = html(face).split('class="bars"')[1:]
    for kind in ("up", "down", "maintenance", "unknown"):
        paths = [found[1] for bar in bars if (found := re.search(rf'<path class="{kind}" d="([^"]+)"', bar))]
        lowest = {
            round(float(top) + float(height), 1)
            for path in paths
            for top, height in re.findall(r"M\d+ ([\d.]+)h6v([\d.]+)", path)
        }
        assert max(lowest) == (46 if kind == "down" else 40), kind


def test_outages_stand_there_with_their_length_and_cause_the_latest_first(face: Face) -> None:
    found = text(face)
    order = [
        "connect-1 is down, for 14 min so far: it refused the connection 24 November 2026, 03:12 UTC until now",
        "connect-2 was down for 2 h 28 min: it refused the connection 24 November 2026, 00:55 UTC to 03:23 UTC",
        "connect-1 was down for 6 h 30 min: it refused the connection 2 October 2026, 10:00 UTC to 16:30 UTC",
    ]
    places = [found.index(words) for words in order]
    assert places == sorted(places)


def test_an_outage_that_two_nodes_saw_stands_there_once(face: Face) -> None:
    seen = record("main", ["2026-11-20 10:00 > 11:00", "2026-11-20 10:01 > 10:59"])
    tell(face, one(UP, seen))
    assert text(face).count("was down for") == 1


def test_of_very_many_outages_the_latest_are_named_and_the_rest_counted(face: Face) -> None:
    tell(
        face,
        one(
            UP,
            record(
                "main", [f"2026-11-{day:02} {hour}:00 > {hour}:10" for day in (1, 2, 3, 4) for hour in range(10, 20)]
            ),
        ),
    )
    found = text(face)
    assert found.count("was down for 10 min") == 30
    assert "And 10 earlier ones." in found


def test_what_waits_is_counted_with_the_age_of_the_oldest(face: Face) -> None:
    assert "Waiting 212 messages, the oldest for 13 min" in text(face)


def test_held_mail_does_not_pass_for_old_mail_that_waits(face: Face) -> None:
    told = one(replace(UP, queued=Queued(3, 1, 4, NOW - timedelta(days=9))))
    told.answer = replace(told.answer, samples={"main": samples(1, 2, 3)})  # type: ignore[type-var]
    tell(face, told)
    assert "Waiting 3 messages, the oldest for 15 min; 1 message held for a decision" in text(face)


def test_a_drain_says_how_far_it_is_and_how_long_it_will_take(face: Face) -> None:
    found = text(face)
    assert "Mail is being delivered. 1.25 messages a second, about 1 min left." in found
    assert "200 of 348 delivered" in found
    assert '<progress max="348" value="200" aria-label="Delivered to connect-2">' in html(face)


def test_a_drain_counts_from_when_the_queue_was_last_empty(face: Face) -> None:
    told = one(replace(UP, queued=Queued(10, 0, 10, NOW), drain=drain(Phase.RAMPING, 1.0)))
    told.answer = replace(told.answer, samples={"main": samples(500, 0, 20, 40, 30)})  # type: ignore[type-var]
    tell(face, told)
    assert "30 of 40 delivered" in text(face)


def test_the_month_is_held_against_what_was_promised(face: Face) -> None:
    found = text(face)
    assert "99.657 % up so far, 99.8 % promised. Broken: 2 h 28 min of downtime, 1 h 26 min allowed." in found
    assert "100.000 % up so far, 99.8 % promised. Kept: 0 s of downtime of 1 h 26 min allowed." in found


def test_a_month_with_unknown_time_is_said_to_lie_between_two_figures(face: Face) -> None:
    assert "between 99.550 % and 99.967 % up so far, 99.8 % promised. Kept, as far as anybody knows:" in text(face)


def test_without_an_agreement_no_month_is_told_and_the_days_are(face: Face) -> None:
    told = one(UP, record("main", ["2026-11-20 10:00 > 11:00"]))
    bare = replace(told.terms.primaries[0], contract=None)
    told = Told(Terms(True, False, (bare,)), whole([(bare, UP, record("main", ["2026-11-20 10:00 > 11:00"]))]))
    tell(face, told)
    assert "promised" not in text(face)
    assert "down on 1 day" in text(face)


def test_the_next_maintenance_is_named_whole_with_its_reason(face: Face) -> None:
    seen = record(
        "main",
        windows=[window("2026-11-26 22:00 > 2026-11-27 04:00", "new disks"), window("2026-12-03 22:00 > 23:00", "x")],
    )
    tell(face, one(UP, seen))
    found = text(face)
    assert "Next maintenance 26 November 2026, 22:00 UTC to 27 November 2026, 04:00 UTC : new disks" in found
    assert "3 December" not in found


def test_maintenance_that_is_on_says_until_when(face: Face) -> None:
    tell(face, one(UP, record("main", windows=[window("2026-11-24 03:00 > 04:00", "new disks")])))
    assert "Maintenance Now, until 04:00 UTC : new disks" in text(face)


def test_the_weekly_window_of_a_region_is_the_next_maintenance(face: Face) -> None:
    tell(face, one(UP, region="cloud/EU"))
    assert "Next maintenance 26 November 2026, 20:00 UTC to 21:00 UTC : the weekly window" in text(face)


def test_the_plot_says_in_words_and_in_a_table_what_it_shows(face: Face) -> None:
    found = text(face)
    assert "At most 360 messages waited, about 03:25 UTC; the oldest came to wait for 2 h 35 min." in found
    assert "24 Nov, 03:00 360 2 h 35 min" in found


def test_time_without_the_service_is_a_gap_in_the_plot(face: Face) -> None:
    plot = html(face).split('class="plot"')[1]
    assert plot.count('<rect class="unknown"') == 1
    assert re.search(r'class="line messages" d="([^"]+)"', plot)[1].count("M") == 2  # type: ignore[index]


def test_before_the_first_sample_nothing_is_drawn_and_that_is_said(face: Face) -> None:
    tell(face, one(UP))
    assert "Nothing is known of the last 24 hours yet." in text(face)
    assert 'class="line' not in html(face)


# --- who may know what ------------------------------------------------------------------------------------------------


def test_a_customers_page_has_that_customers_primaries_alone(face: Face) -> None:
    found = text(face, f"/status/{TOKEN}")
    assert "Mail status of Example" in found
    assert "connect-2" in found
    assert "archive" not in found


def test_a_customers_page_is_kept_by_nobody_and_listed_nowhere(face: Face) -> None:
    _, headers, _ = face.request(f"/status/{TOKEN}")
    assert headers["Cache-Control"] == "private, no-store"
    assert headers["X-Robots-Tag"] == "noindex"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "token", ["x", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "%00", "%ff%fe", "<script>", "a" * 5000]
)
def test_a_wrong_token_is_403_whatever_it_looks_like_and_is_not_said_back(face: Face, token: str) -> None:
    for path in (f"/status/{token}", f"/status/{token}/feed.atom"):
        status, headers, body = face.request(path)
        assert (status, headers["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert body == face.request(path.replace(token, "wrong"))[2]
        assert face.house.told.asked == 0


def test_a_page_that_is_closed_to_the_public_is_403_and_a_customers_own_is_not(face: Face) -> None:
    face.house.told.terms = replace(face.house.told.terms, is_public=False)
    for path in ("/status", "/feed.atom", "/badge/connect-1.svg"):
        assert face.request(path)[0] == 403
    assert face.request(f"/status/{TOKEN}")[0] == 200
    assert list(face.json_of("/health")["checks"]) == ["database", "listener"]


def test_a_token_that_was_taken_out_opens_nothing_any_more(face: Face) -> None:
    assert face.request(f"/status/{TOKEN}")[0] == 200
    face.house.told.terms = replace(face.house.told.terms, customers={digest("other" * 5): "Example"})
    assert face.request(f"/status/{TOKEN}")[0] == 403


EVERYWHERE = [
    "/status",
    f"/status/{TOKEN}",
    "/feed.atom",
    f"/status/{TOKEN}/feed.atom",
    "/health",
    "/badge/connect-1.svg",
]


@pytest.mark.parametrize("path", EVERYWHERE)
def test_nobodys_address_and_no_host_stands_anywhere(face: Face, path: str) -> None:
    _, _, body = face.request(path)
    for secret in ("198.51.100.7", "carol", "example.org", "4.7.1", "mx2"):
        assert secret not in body.decode(), secret


def test_a_primary_that_is_called_by_its_host_is_called_by_its_place_instead(face: Face) -> None:
    hidden = listed("mail.example.org", title="primary 1")
    seen = Primary(hidden.name, State.DOWN, NOW - timedelta(minutes=2), "mail.example.org:25: timed out")
    seen = replace(seen, observation=Observation(False, NOW, "connect", "mail.example.org:25: timed out"))
    tell(face, Told(Terms(True, False, (hidden,)), whole([(hidden, seen, record(hidden.name))])))
    assert "primary 1 is down for 2 min (it could not be reached)" in text(face)
    assert "mail.example.org" not in html(face)


def test_where_hosts_may_be_shown_causes_are_told_as_they_were_seen_but_for_persons(face: Face) -> None:
    told = named(night(), "mail", "550 <carol@example.org> unknown at mail.example.org")
    told.terms = replace(told.terms, shows_hosts=True)
    tell(face, told)
    assert "550 <…@example.org> unknown at mail.example.org" in text(face)


def test_mail_of_primaries_that_are_no_longer_configured_is_nobodys_business(face: Face) -> None:
    told = night()
    gone = Primary("gone", State.UNKNOWN, None, queued=Queued(7, 0, 7, NOW), is_configured=False)
    status = told.answer.status  # type: ignore[union-attr]
    told.answer = replace(told.answer, status=replace(status, primaries=(*status.primaries, gone)))  # type: ignore[type-var]
    tell(face, told)
    assert "gone" not in html(face)


# --- faults 43 to 45 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/status", f"/status/{TOKEN}", "/feed.atom"])
def test_markup_in_a_name_or_a_reply_is_text(face: Face, path: str) -> None:
    told = named(night(), SCRIPT, SCRIPT)
    told.terms = replace(told.terms, shows_hosts=True)
    tell(face, told)
    body = face.request(path)[2].decode()
    assert "<script" not in body
    assert "&lt;script&gt;" in body


def test_markup_in_a_name_is_text_on_its_badge_and_in_its_check(face: Face) -> None:
    tell(face, named(night(), SCRIPT))
    status, headers, body = face.request("/badge/%3Cscript%3Ealert(%22x%22)%3C/script%3E.svg")
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml")
    assert b"<script" not in body
    ElementTree.fromstring(body)
    assert f"{SCRIPT}:state" in face.json_of("/health")["checks"]


@pytest.mark.parametrize("path", ["/status", "/feed.atom"])
def test_control_characters_are_written_as_escapes(face: Face, path: str) -> None:
    told = named(night(), "bell\x07", "250 \x1b[2J\u202e hi\x00")
    told.terms = replace(told.terms, shows_hosts=True)
    tell(face, told)
    body = face.request(path)[2].decode()
    assert all(character.isprintable() or character == "\n" for character in body)
    assert r"bell\x07" in body
    assert r"250 \x1b[2J\u202e hi\x00" in body


@pytest.mark.parametrize("host", ["evil.example", "<script>", "[::1]:8025"])
@pytest.mark.parametrize("path", EVERYWHERE)
def test_nothing_is_built_from_the_host_header(face: Face, path: str, host: str) -> None:
    _, _, body = face.request(path, headers={"Host": host})
    assert host.encode() not in body
    assert b"http://" not in body.replace(b"http://www.w3.org/", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", [*EVERYWHERE, "/static/status.css"])
def test_a_cross_site_post_finds_nothing_to_do(face: Face, path: str, method: str) -> None:
    assert face.request(path, method, {"Origin": "https://evil.example"})[0] == 405


@pytest.mark.parametrize(
    "path", [*EVERYWHERE, "/status/wrong", "/badge/none.svg", "/static/status.css", "/static/icon.svg"]
)
def test_every_answer_forbids_scripts_frames_and_forms(face: Face, path: str) -> None:
    _, headers, _ = face.request(path)
    (policy,) = headers.get_all("Content-Security-Policy") or []
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy
    assert "unsafe" not in policy
    for forbidden in ("frame-ancestors", "base-uri", "form-action"):
        assert f"{forbidden} 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_an_unforeseen_error_of_a_customers_page_is_told_without_the_token(face: Face) -> None:
    face.house.told.answer = ValueError("secret")
    assert face.request(f"/status/{TOKEN}")[0] == 503
    assert [part for part, _ in face.failures] == ["http /status/{token}"]


def test_a_record_that_cannot_be_read_is_503_in_words(face: Face) -> None:
    face.house.told.answer = QueueUnavailable("postgresql://secret")
    status, headers, body = face.request("/status")
    assert (status, headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert b"The status cannot be told now" in body
    assert b"secret" not in body


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_page_with_all_it_needs_is_smaller_than_100_kb(face: Face) -> None:
    tell(face, quiet(20))
    whole_page = sum(len(face.request(path)[2]) for path in ("/status", "/static/status.css", "/static/icon.svg"))
    assert whole_page < 100_000


def test_a_page_of_many_troubled_primaries_is_smaller_than_100_kb(face: Face) -> None:
    nights = [f"2026-11-{day:02} 0{hour}:00 > 0{hour}:10" for day in range(1, 24) for hour in (1, 3)]
    many = [listed(f"connect-{number}", region="cloud/EU") for number in range(10)]
    told = whole([(one, Primary(one.name, State.UP, NOW), record(one.name, nights, nights)) for one in many])
    tell(face, Told(Terms(True, False, tuple(many)), told))
    assert len(face.request("/status")[2]) < 90_000
    assert "and 8 earlier days" in text(face)


def test_everything_a_page_asks_for_is_here(face: Face) -> None:
    for path in ("/status", f"/status/{TOKEN}", "/status/wrong"):
        body = face.request(path)[2].decode()
        assert "style=" not in body
        links = re.findall(r'(?:href|src)="([^"#]+)"', body)
        assert links
        for link in links:
            assert face.request(_resolved(path, unescape(link)))[0] == 200, link


def _resolved(path: str, link: str) -> str:
    from urllib.parse import urljoin, urlsplit

    return urlsplit(urljoin(f"http://x{path}", link)).path


def test_a_crowd_at_the_page_costs_one_reading(face: Face) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: face.request("/status")[0], range(60)))
    assert set(answers) == {200}
    # The crowd may come in over some of the seconds that a page is good for.
    assert face.house.told.asked < 15


def test_livez_is_answered_while_more_are_there_than_may_be(face: Face) -> None:
    crowd = [face.connect() for _ in range(CONNECTIONS + 20)]
    try:
        assert face.request("/livez")[0] == 200
        assert face.request("/readyz")[0] == 200
        assert face.request("/status")[0] == 503
    finally:
        for client in crowd:
            client.close()


def test_the_style_sheet_may_be_kept_and_its_name_changes_with_it(face: Face) -> None:
    _, headers, body = face.request("/static/status.css")
    assert headers["Content-Type"] == "text/css; charset=utf-8"
    assert headers["Cache-Control"] == "public, max-age=86400"
    assert "@import" not in body.decode()
    assert re.search(r'static/status.css\?[0-9a-f]{12}"', html(face))


# --- feed, badge, health ----------------------------------------------------------------------------------------------


def test_the_feed_has_every_outage_and_the_maintenance_to_come(face: Face) -> None:
    _, headers, body = face.request("/feed.atom")
    assert headers["Content-Type"] == "application/atom+xml; charset=utf-8"
    root = ElementTree.fromstring(body)
    titles = [entry.findtext("atom:title", namespaces=ATOM) for entry in root.findall("atom:entry", ATOM)]
    assert titles == [
        "Maintenance of connect-1",
        "Maintenance of connect-2",
        "connect-1 is down",
        "connect-2 was down for 2 h 28 min",
        "connect-1 was down for 6 h 30 min",
        "connect-2 was down for 6 min",
    ]


def test_the_feed_is_atom_as_readers_want_it(face: Face) -> None:
    root = ElementTree.fromstring(face.request("/feed.atom")[2])
    for one_of in (root, *root.findall("atom:entry", ATOM)):
        assert len(one_of.findall("atom:id", ATOM)) == 1
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one_of.findtext("atom:updated", "", ATOM))
        assert one_of.findtext("atom:title", "", ATOM)
    assert root.find("atom:link[@rel='self']", ATOM).get("href") == "feed.atom"  # type: ignore[union-attr]
    assert root.findtext("atom:author/atom:name", "", ATOM) == "Fallback MX"


def test_an_entry_keeps_its_id_when_its_outage_ends(face: Face) -> None:
    tell(face, one(replace(UP, state=State.DOWN), record("main", ["2026-11-24 03:12 > now"])))
    before = ElementTree.fromstring(face.request("/feed.atom")[2]).findall("atom:entry", ATOM)
    tell(face, one(UP, record("main", ["2026-11-24 03:12 > 03:20"])))
    after = ElementTree.fromstring(face.request("/feed.atom")[2]).findall("atom:entry", ATOM)
    ids = [[entry.findtext("atom:id", "", ATOM) for entry in entries] for entries in (before, after)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 1


def test_a_customers_feed_has_that_customers_primaries_alone(face: Face) -> None:
    told = night()
    archive = told.terms.primaries[2]
    told.terms = replace(told.terms, customers={digest(TOKEN): "Other"})
    tell(face, told)
    assert archive.customer == "Other"
    body = face.request(f"/status/{TOKEN}/feed.atom")[2].decode()
    assert "connect" not in body


@pytest.mark.parametrize(("state", "word"), [(State.UP, "up"), (State.DOWN, "down"), (State.RISING, "coming back")])
def test_a_badge_says_the_state_in_a_word(face: Face, state: State, word: str) -> None:
    tell(face, one(replace(UP, state=state)))
    status, headers, body = face.request("/badge/main.svg")
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml")
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert ElementTree.fromstring(body).get("aria-label") == f"main: {word}"


@pytest.mark.parametrize("name", ["none", "", "connect-1.svg", "%00", "..%2f..%2fetc%2fpasswd"])
def test_a_badge_of_nobody_is_404(face: Face, name: str) -> None:
    assert face.request(f"/badge/{name}.svg")[0] == 404


def test_health_warns_while_a_primary_is_not_up_and_mail_can_be_taken(face: Face) -> None:
    status, headers, body = face.request("/health")
    found = json.loads(body)
    assert (status, headers["Content-Type"], found["status"]) == (200, "application/health+json", "warn")
    assert found["checks"]["connect-1:state"] == [
        {"componentType": "component", "status": "warn", "observedValue": "down"}
    ]
    assert found["checks"]["database"] == [{"componentType": "system", "status": "pass"}]
    assert (found["version"], found["releaseId"]) == ("9", "9.9.9")


def test_health_passes_while_all_are_up(face: Face) -> None:
    tell(face, quiet(2))
    assert face.json_of("/health")["status"] == "pass"


def test_health_fails_with_503_where_mail_cannot_be_taken_and_says_no_more_than_which_check(face: Face) -> None:
    face.house.checks = [Check("database", False, "postgresql://secret"), Check("listener", True)]
    face.house.told.answer = QueueUnavailable("gone")
    status, _, body = face.request("/health")
    found = json.loads(body)
    assert (status, found["status"], found["checks"]["database"][0]["status"]) == (503, "fail", "fail")
    assert b"secret" not in body
