"""Which addresses are neighbours."""

from __future__ import annotations

import pytest

from fallback_mx.rules.neighbours import allotment_of, network_of


@pytest.mark.parametrize(
    ("address", "network", "allotment"),
    [
        ("192.0.2.77", "192.0.2.0/24", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("", "", ""),
        ("no address", "no address", "no address"),
    ],
)
def test_a_network_is_a_24_or_a_64_and_an_allotment_a_24_or_a_48(address: str, network: str, allotment: str) -> None:
    assert (network_of(address), allotment_of(address)) == (network, allotment)


def test_neighbours_share_their_network_and_others_do_not() -> None:
    assert network_of("192.0.2.1") == network_of("192.0.2.254") != network_of("192.0.3.1")
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:1:ffff::") != network_of("2001:db8:0:2::1")
