"""Redelivery: the loop that brings mail to a primary which is back."""

from fallback_mx.redelivery.carrier import Connect, Courier
from fallback_mx.redelivery.drain import Drain
from fallback_mx.redelivery.terms import DrainEvents, DrainSettings, OnExpiry, Reporter

__all__ = ["Connect", "Courier", "Drain", "DrainEvents", "DrainSettings", "OnExpiry", "Reporter"]
