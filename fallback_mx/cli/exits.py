"""How a command ends: its exit code, and one line on standard error that says what to do about it.

Codes are those that scripts may rely on. Nothing but `Program` calls `sys.exit`; commands return a code or raise. An
error that nobody foresaw ends as code 1 and one line; FALLBACK_MX_TRACEBACK=1 shows where it came from.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from fallback_mx.cli.options import wants_json
from fallback_mx.cli.unknown import did_you_mean
from fallback_mx.visible import visible

DONE = 0
FAILED = 1
USAGE = 2
NOTHING_MATCHED = 3
UNREACHABLE = 4
PARTLY_DONE = 5


class Program(click.Group):
    """The root command. Whatever a command raises becomes an exit code and a line, never a traceback.

    Each of the `nouns` is a command that has a file of its own in this package, loaded when it is asked for.
    """

    def __init__(self, *arguments: Any, nouns: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._nouns = frozenset(nouns)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._nouns})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._nouns and cmd_name not in self.commands:
            name = cmd_name.replace("-", "_")
            self.add_command(getattr(import_module(f"{__package__}.{name}"), name))
        return super().get_command(ctx, cmd_name)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            # A reader that has enough of our output ends this with code 1 in there, without a word.
            code = super().main(args, prog_name or "fallback-mx", complete_var, standalone_mode=False, **extra)
        except (Exception, KeyboardInterrupt) as error:
            sys.exit(report(error))
        sys.exit(code if isinstance(code, int) else DONE)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            # click knows only of those that have been loaded.
            perhaps = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(f"No such command {args[0]!r}.{' ' + perhaps if perhaps else ''}", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if wants_json(ctx) and command is not None and not any("--json" in one.opts for one in command.params):
            raise click.UsageError(f"{name} prints nothing that --json could be of use for.", ctx)
        return name, command, rest


def complain(message: str) -> None:
    """One line on standard error. Commands use it for what is wrong but does not end them."""
    click.echo(f"fallback-mx: {visible(message)}", err=True)


def report(error: BaseException) -> int:
    """Say what went wrong in one line (a line a problem for a configuration) and choose the exit code."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        complain("stopped")
        return FAILED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    if isinstance(error, click.UsageError):
        help_of = f" See `{error.ctx.command_path} --help`." if error.ctx else ""
        complain(f"{_sentence(error.format_message())}{help_of}")
        return USAGE
    if isinstance(error, click.ClickException):
        complain(error.format_message())
        return error.exit_code
    return _report_ours(error)


def _report_ours(error: BaseException) -> int:
    # These bring the database library with them, and a command that fails without it should not wait for it.
    from fallback_mx.config_problems import ConfigError
    from fallback_mx.sla.flaws import AgreementError
    from fallback_mx.smtp.tls import BadCertificate
    from mxqueue.errors import NoQueue, NoSuchMessage, QueueError, QueueUnavailable

    if isinstance(error, ConfigError | AgreementError):
        for problem in str(error).splitlines():
            complain(problem)
        return USAGE
    if isinstance(error, BadCertificate):
        complain(f"{_sentence(str(error))} {error.advice}")
        return USAGE
    if isinstance(error, QueueError):
        complain(f"{_sentence(str(error))} {error.advice}")
        if isinstance(error, NoSuchMessage):
            return NOTHING_MATCHED
        return UNREACHABLE if isinstance(error, NoQueue | QueueUnavailable) else FAILED
    advice = getattr(error, "advice", "")
    if isinstance(advice, str) and advice:
        complain(f"{_sentence(str(error))} {advice}")
    else:
        complain(f"{type(error).__name__}: {error} (FALLBACK_MX_TRACEBACK=1 shows where)")
    if os.environ.get("FALLBACK_MX_TRACEBACK"):
        traceback.print_exception(error)
    return FAILED


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
