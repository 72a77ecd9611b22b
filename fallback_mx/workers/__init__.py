"""Processes that work for the service: how it starts them, and how the two speak.

What they do is elsewhere: `accepting` holds sessions with senders, `delivering` connections to primaries.
"""
