"""Coverage-guided fuzzing: `python -m tests.fuzz TARGET SECONDS [libFuzzer's options]`, or `make fuzz` for all of it.

What is found new goes to var/fuzz/TARGET, on top of the corpus in the tree. An input that breaks something is written
to var/fuzz/TARGET-crash-…, and is played again when its name is an option. It then becomes a file of the corpus, by a
name that says what it is, which tests/faults/test_session_fuzz.py plays ever after. What is new and breaks nothing is
taken into the tree with `python -m tests.fuzz TARGET 0 -set_cover_merge=1 tests/fuzz/corpus/TARGET var/fuzz/TARGET`.

With FUZZ_SEED=1 chance is the same in every run: then what breaks is what was changed, and CI wants that.

atheris has wheels for Linux on x86-64 alone (pyproject.toml names them): elsewhere this says so and does nothing. The
same is asked everywhere by that test, without guidance.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOUND = Path("var/fuzz")
# Each has a `check` that raises where something does not hold, and its share of the seconds.
TARGETS = {
    "session": "tests.fuzz.session",
    "commands": "tests.fuzz.commands",
    "proxy_header": "tests.fuzz.proxy_header",
    "replies": "tests.fuzz.replies",
}
SHARES = {"session": 0.7, "commands": 0.1, "proxy_header": 0.1, "replies": 0.1}
# An input that takes longer hangs; the octets of one input.
LIMITS = ["-timeout=20", "-rss_limit_mb=1500", "-max_len=2500", "-len_control=20"]


def main(target: str, seconds: str, *options: str) -> int:
    try:
        import atheris  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
        print(f"Nothing is fuzzed: atheris has no wheel for {here}. make test asks the same, without its guidance.")
        return 0
    if target == "all":
        return max(_apart(each, float(seconds)) for each in TARGETS)
    # It names every module that it instruments.
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["fallback_mx", "mxqueue"]):
        check = importlib.import_module(TARGETS[target]).check
    corpus = FOUND / target
    corpus.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            # Where it merges it runs this again, through a shell.
            f"{sys.executable} -m tests.fuzz {target} {seconds}",
            *LIMITS,
            f"-max_total_time={seconds}",
            f"-dict={HERE / 'dictionary'}",
            f"-artifact_prefix={FOUND}/{target}-",
            *(options or (str(corpus), str(HERE / "corpus" / target))),
        ],
        check,
    )
    atheris.Fuzz()
    return 0


def _apart(target: str, seconds: float) -> int:
    """Fuzz one in a process of its own, since the fuzzer ends its process when it is done."""
    print(f"\n{target}", flush=True)
    share = max(1, round(seconds * SHARES[target]))
    command = [sys.executable, "-m", "tests.fuzz", target, str(share), "-verbosity=0", "-print_final_stats=1"]
    if seed := os.environ.get("FUZZ_SEED"):
        command.append(f"-seed={seed}")
    directories = [str(FOUND / target), str(HERE / "corpus" / target)]
    return subprocess.run([*command, *directories], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
