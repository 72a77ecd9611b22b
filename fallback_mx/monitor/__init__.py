"""Watching the primaries: whether each is up, how fast it answers, which ports are open, and whether we can see it."""

from fallback_mx.monitor.controls import Controls
from fallback_mx.monitor.monitor import LAST_WRITE_SECONDS, Monitor
from fallback_mx.monitor.pulse import Pulse, boot_seconds
from fallback_mx.monitor.settings import MonitorSettings

__all__ = ["LAST_WRITE_SECONDS", "Controls", "Monitor", "MonitorSettings", "Pulse", "boot_seconds"]
