"""The story this project is about, played with real sockets and the real service."""

from fallback_mx.demo.story import run

__all__ = ["run"]
