"""Which clients a setting of addresses and networks means."""

from __future__ import annotations

import pickle
from ipaddress import ip_network

import pytest

from fallback_mx.smtp.networks import Networks

SOME = Networks([ip_network("192.0.2.7"), ip_network("10.1.0.0/16"), ip_network("2001:db8::/32")])


@pytest.mark.parametrize("address", ["192.0.2.7", "10.1.255.255", "2001:db8:ffff::1", "::ffff:10.1.0.1"])
def test_an_address_in_one_of_the_networks_is_meant(address: str) -> None:
    assert address in SOME


@pytest.mark.parametrize("address", ["192.0.2.8", "10.2.0.1", "2001:db9::1", "", "unknown", "10.1.0"])
def test_any_other_is_not(address: str) -> None:
    assert address not in SOME


def test_no_networks_mean_nobody() -> None:
    assert "127.0.0.1" not in Networks()


def test_they_can_be_handed_to_another_process() -> None:
    assert "10.1.0.1" in pickle.loads(pickle.dumps(SOME))
