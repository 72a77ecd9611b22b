"""What all monitors of a service share: its pulse, and the controls that tell our own network from the primaries'."""

from __future__ import annotations

from fallback_mx import maillog
from fallback_mx.config import Monitoring
from fallback_mx.monitor import Controls, Pulse
from fallback_mx.smtp.knock import is_reachable
from fallback_mx.smtp.route import NextHop

CONTROL_SECONDS = 3.0


class Surroundings:
    """Begins with `start`, in a running event loop."""

    def __init__(self) -> None:
        self.pulse = Pulse(on_stall=maillog.stood_still, on_step=maillog.clock_stepped)
        self._configured: Monitoring | None = None
        self._hops: dict[str, NextHop] = {}
        self.controls: Controls | None = None

    def start(self) -> None:
        self.pulse.start()

    def configure(self, monitoring: Monitoring) -> bool:
        """Whether that changed anything: the monitors then want to begin anew."""
        if monitoring == self._configured:
            return False
        self._configured = monitoring
        if self.controls is not None:
            self.controls.stop()
        self._hops = {str(each): NextHop(str(each.host), each.port) for each in monitoring.controls}
        self.controls = (
            Controls(list(self._hops), self._reach, maillog.cut_off, maillog.reached_again) if self._hops else None
        )
        return True

    @property
    def is_cut_off(self) -> bool:
        return self.controls is not None and self.controls.is_cut_off

    async def _reach(self, name: str) -> bool:
        return await is_reachable(self._hops[name], CONTROL_SECONDS)

    def stop(self) -> None:
        self.pulse.stop()
        if self.controls is not None:
            self.controls.stop()
