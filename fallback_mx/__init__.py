"""Fallback MX: a second mail exchanger that keeps mail safe while the primary is down, and the record of it."""

__version__ = "0.1.0"
