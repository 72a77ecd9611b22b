"""One form for every way to write a domain."""

from __future__ import annotations

import pytest

from fallback_mx.domains import normalised


@pytest.mark.parametrize(
    ("written", "one_form"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org", "example.org"),
        ("example.org.", "example.org"),
        ("müller.example", "xn--mller-kva.example"),
        ("MÜLLER.example.", "xn--mller-kva.example"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # RFC 5891; the older rules made it strasse.example
        ("example。org", "example.org"),
        ("localhost", "localhost"),
        ("a_b.example", "a_b.example"),
    ],
)
def test_a_domain_has_one_form(written, one_form):
    assert normalised(written) == one_form


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", ".a", "-a.example", "a-.example", "*.example.org", "a b", "a\n", "10.0.0.1", "[10.0.0.1]",
     "☃.example", "a@b.example", "x" * 64 + ".example", ".".join(["x" * 60] * 5)],
)  # fmt: skip
def test_what_is_no_domain_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        normalised(text)
