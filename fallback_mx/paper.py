"""A page (HTML) as PDF, where the extra `pdf` is installed. NoPdf says what to do where it is not."""

from __future__ import annotations


class NoPdf(Exception):
    """PDF was asked for and nothing is installed that makes it."""

    advice = "pip install 'fallback-mx[pdf]' (it draws with the system's pango), or ask for html and print that."


def pdf(page: str) -> bytes:
    """A page that is whole by itself, as it prints. Raises NoPdf."""
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        # OSError where the package is there and the libraries that it draws with are not.
        raise NoPdf(f"PDF cannot be made here: {error}") from error
    made: bytes = weasyprint.HTML(string=page, url_fetcher=_fetch_nothing).write_pdf()
    return made


def _fetch_nothing(url: str, *_: object, **__: object) -> dict[str, object]:
    raise ValueError(f"a page on paper fetches nothing: {url}")
