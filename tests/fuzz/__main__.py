"""Coverage-guided fuzzing: `python -m tests.fuzz TARGET SECONDS [libFuzzer's options]`, or `make fuzz`.

What is found new goes to var/fuzz/TARGET, on top of the corpus in the tree; an input that breaks something is written to
var/fuzz/TARGET-crash-…, and is played again by giving its name as an option. To take what is new into the tree, merged
down to the fewest files: `python -m tests.fuzz TARGET 0 -merge=1 -set_cover_merge=1 NEW_DIRECTORY tests/fuzz/corpus/TARGET var/fuzz/TARGET`.

atheris has wheels for Linux on x86-64 alone (pyproject.toml names them): elsewhere this says so and does nothing. The
same checks run everywhere, without its guidance, in tests/faults/test_session_fuzz.py.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOUND = Path("var/fuzz")
TARGETS = {
    "session": "tests.fuzz.session",
    "commands": "tests.fuzz.commands",
    "proxy_header": "tests.fuzz.proxy_header",
    "replies": "tests.fuzz.replies",
}
# An input that takes longer hangs; octets of one input.
LIMITS = ["-timeout=20", "-rss_limit_mb=1500", "-max_len=2500"]


def main(target: str, seconds: str, *options: str) -> None:
    try:
        import atheris
    except ImportError:
        print(
            f"atheris has no wheel for Python {platform.python_version()} on {platform.machine()}: nothing was fuzzed."
        )
        return
    import importlib

    with atheris.instrument_imports(include=["fallback_mx", "mxqueue"], enable_loader_override=False):
        check = importlib.import_module(TARGETS[target]).check
    corpus = FOUND / target
    corpus.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            sys.argv[0],
            *LIMITS,
            f"-max_total_time={seconds}",
            f"-dict={HERE / 'dictionary'}",
            f"-artifact_prefix={FOUND}/{target}-",
            *(options or (str(corpus), str(HERE / "corpus" / target))),
        ],
        check,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
