"""The agreements: those that are shipped, by name, and others by the path of their file.

Raises AgreementError for whatever cannot be used, a file that cannot be read included.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fallback_mx.sla.agreement import Agreement
from fallback_mx.sla.agreement_file import read
from fallback_mx.sla.flaws import AgreementError, Flaw

KERIO_CLOUD = "kerio-cloud"
NAMES = (KERIO_CLOUD,)


def load(name_or_path: str) -> Agreement:
    """An agreement. What has a slash or ends in .toml is the path of a file, anything else a shipped one's name."""
    shipped = {name: (files(__name__) / f"{name}.toml").read_text(encoding="utf-8") for name in NAMES}
    if "/" not in name_or_path and not name_or_path.endswith(".toml"):
        if name_or_path not in shipped:
            names = " or ".join(f'"{name}"' for name in NAMES)
            flaw = Flaw(
                "", "there is no agreement of that name", f"write {names}, or the path of a file with a slash in it"
            )
            raise AgreementError(name_or_path, [flaw])
        return read(shipped[name_or_path], name_or_path, shipped)
    return read(_text(Path(name_or_path)), name_or_path, shipped)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        flaw = Flaw("", f"cannot be read: {error.strerror}", "name a file that this user may read")
    except UnicodeDecodeError as error:
        flaw = Flaw("", f"is not UTF-8 text (at octet {error.start})", "save it as UTF-8")
    raise AgreementError(str(path), [flaw])
