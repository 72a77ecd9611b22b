"""Redelivery: the loop that brings mail to a primary which is back."""

from fallback_mx.redelivery.carrier import Connect
from fallback_mx.redelivery.carrying import Courier
from fallback_mx.redelivery.drain import Drain
from fallback_mx.redelivery.posts import Elsewhere
from fallback_mx.redelivery.terms import DrainEvents, DrainSettings, OnExpiry, Reporter, Taken

__all__ = ["Connect", "Courier", "Drain", "DrainEvents", "DrainSettings", "Elsewhere", "OnExpiry", "Reporter", "Taken"]
