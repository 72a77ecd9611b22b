"""Run by itself in a network namespace, where 192.0.2.1 is this machine and yet no loopback address: logs in there.

    python -m tests.fakes.elsewhere PASSWORD_FILE

Prints why that failed, or the commands that the server got.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.dial import DialSettings, connect
from fallback_mx.smtp.login import Login
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.trusting_sink import USERNAME, TrustingSink

ADDRESS = "192.0.2.1"


async def log_in(password_file: Path) -> str:
    sink = TrustingSink("AUTH PLAIN")
    await sink.start(ADDRESS)
    dial = DialSettings("mx2.test", tls=TlsPolicy.OPPORTUNISTIC, login=Login(USERNAME, password_file))
    try:
        courier = await connect(NextHop(ADDRESS, sink.port), dial)
        await courier.quit()
    except NoConnection as failure:
        return f"{failure}; {b', '.join(sink.commands).decode()}"
    finally:
        await sink.stop()
    return b", ".join(sink.commands).decode()


if __name__ == "__main__":
    for command in ("ip link set lo up", f"ip address add {ADDRESS}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    print(asyncio.run(log_in(Path(sys.argv[1]))))
