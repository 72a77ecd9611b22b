"""The pages in a real Chromium: how they look, who can use them, and that they ask nobody else for anything.

`FALLBACK_MX_SCREENSHOTS=docs/screenshots make peers` takes the pictures of the documentation anew. Whether a page can
be used by everybody is judged by axe-core (tests/peers/axe, MPL 2.0), every rule of it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import chromium
from tests.fakes.face import Face, House
from tests.fakes.told import TOKEN, Told, named, night, quiet

AXE = Path(__file__).parent / "axe" / "axe.min.js"
WIDTHS = {"wide": 1200, "narrow": 360}
SCRIPT = '<script>document.title = "broken into"; alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    lacking = chromium.missing()
    if lacking is not None:
        pytest.skip(lacking)
    with chromium.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def face(browser: Any) -> Iterator[Face]:
    # After the browser: playwright wants the thread that it was started in to have no event loop.
    with Face() as one:
        yield one


class Visit:
    """A page that was opened, what it asked for, and what the browser had to say about it."""

    def __init__(self, context: Any, base: str) -> None:
        self.page = context.new_page()
        self.base = base
        self.octets = 0
        self.asked: list[str] = []
        self.blocked: list[tuple[str, str | None]] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("response", self._count)
        self.page.on("requestfailed", lambda request: self.blocked.append((request.url, request.failure)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))

    def _count(self, response: Any) -> None:
        self.octets += int(response.headers["content-length"])

    def open(self, path: str = "/status") -> Any:
        self.page.goto(f"{self.base}{path}", wait_until="load")
        return self.page

    def violations(self) -> list[tuple[str, list[str]]]:
        """What axe-core finds, each with the elements."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]


@contextmanager
def visit(browser: Any, face: Face, told: Told, **options: Any) -> Iterator[Visit]:
    house = House()
    house.told = told
    face.furnish(house)
    context = browser.new_context(**options)
    try:
        yield Visit(context, f"http://127.0.0.1:{face.server.port}")
    finally:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_the_picture_is_taken(browser: Any, face: Face, scheme: str, width: str) -> None:
    size = {"width": WIDTHS[width], "height": 900}
    with visit(browser, face, night(), color_scheme=scheme, viewport=size) as visited:
        page = visited.open()
        picture = page.screenshot(full_page=True)
        for summary in page.locator("summary").all():
            summary.click()
        assert visited.violations() == []
        assert visited.complaints == []
    if directory := os.environ.get("FALLBACK_MX_SCREENSHOTS"):
        _keep(picture, Path(directory) / f"status-{scheme}-{width}.png")


def _keep(picture: bytes, path: Path) -> None:
    """A flat page needs few colours, and a file with few of them is small."""
    from PIL import Image

    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


@pytest.mark.parametrize("path", [f"/status/{TOKEN}", "/status/wrong"])
def test_axe_finds_nothing_on_a_customers_page_and_on_a_closed_one(browser: Any, face: Face, path: str) -> None:
    with visit(browser, face, night()) as visited:
        visited.open(path)
        assert visited.violations() == []


def test_axe_finds_nothing_while_all_is_well(browser: Any, face: Face) -> None:
    with visit(browser, face, quiet(3)) as visited:
        visited.open()
        assert visited.violations() == []


@pytest.mark.parametrize("path", ["/status", f"/status/{TOKEN}"])
def test_no_request_leaves_the_host_and_all_of_them_together_are_small(browser: Any, face: Face, path: str) -> None:
    with visit(browser, face, night()) as visited:
        visited.open(path)
        assert [url for url in visited.asked if not url.startswith(f"{visited.base}/")] == []
        assert any(url.partition("?")[0].endswith("/static/status.css") for url in visited.asked)
        assert 0 < visited.octets < 100_000


def test_the_page_is_whole_without_javascript(browser: Any, face: Face) -> None:
    with visit(browser, face, night(), java_script_enabled=False) as visited:
        page = visited.open()
        assert "connect-1 is down for 14 min" in page.locator(".sentence").inner_text()
        assert page.locator("svg.bars").count() == 3
        details = page.locator("details", has=page.get_by_text("The same as a table"))
        details.locator("summary").click()
        assert details.locator("table").is_visible()


def test_what_is_drawn_is_drawn_in_the_colours_of_the_style_sheet(browser: Any, face: Face) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with visit(browser, face, night(), color_scheme=scheme) as visited:
            visited.open()
            for selector, what in (("body", "backgroundColor"), ("path.down", "fill"), ("path.up", "fill")):
                style = f"element => getComputedStyle(element).{what}"
                colours[scheme, selector] = visited.page.locator(selector).first.evaluate(style)
    assert len(set(colours.values())) == len(colours)


@pytest.mark.parametrize("width", [320, 768])
def test_nothing_has_to_be_scrolled_sideways(browser: Any, face: Face, width: int) -> None:
    told = named(night(), "a" * 64)
    with visit(browser, face, told, viewport={"width": width, "height": 700}) as visited:
        page = visited.open()
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_every_link_and_fold_is_reached_and_opened_by_the_keyboard(browser: Any, face: Face) -> None:
    with visit(browser, face, night()) as visited:
        page = visited.open()
        reached = []
        for _ in range(page.locator("a, summary").count()):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.innerText.trim()"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert reached[0] == "To the status"
        assert "The same as a table" in reached
        page.get_by_text("The same as a table").focus()
        page.keyboard.press("Enter")
        assert page.locator("table").is_visible()


def test_a_script_in_a_name_or_a_reply_is_text_and_nothing_runs(browser: Any, face: Face) -> None:
    told = named(night(), SCRIPT[:64], SCRIPT)
    told.terms = type(told.terms)(True, True, told.terms.primaries, told.terms.customers)
    with visit(browser, face, told) as visited:
        page = visited.open()
        assert page.title() == "Mail status: down"
        assert page.locator("script, img").count() == 0
        assert SCRIPT in page.locator(".timeline").inner_text()
        assert visited.complaints == []


def test_the_policy_holds_against_a_script_that_got_in_all_the_same(browser: Any, face: Face) -> None:
    with visit(browser, face, night()) as visited:
        page = visited.open()
        page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "document.title = 'broken into'";
              document.body.append(script);
              const image = document.createElement("img");
              image.src = "http://127.0.0.1:9/stolen";
              document.body.append(image);
            }"""
        )
        page.wait_for_timeout(200)
        assert page.title() == "Mail status: down"
        assert len([text for text in visited.complaints if "Content Security Policy" in text]) == 2
        assert visited.blocked == [("http://127.0.0.1:9/stolen", "csp")]


def test_a_badge_is_drawn_on_its_own_and_on_another_page(browser: Any, face: Face) -> None:
    with visit(browser, face, night()) as visited:
        page = visited.page
        page.set_content(f'<img alt="state" src="{visited.base}/badge/connect-1.svg">')
        width = page.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
        assert width > 50
