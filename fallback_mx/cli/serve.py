"""`fallback-mx serve`: run the service in the foreground."""

from __future__ import annotations

import click

from fallback_mx.cli.options import config_option, config_path

OPTIONS = {"server.listen": "--listen", "http.listen": "--http", "storage.url": "--storage"}


@click.command(short_help="Run the service until SIGTERM or Ctrl-C.")
@config_option
@click.option(
    "--listen", multiple=True, metavar="ADDRESS:PORT", help="Take mail here, not where [server] says; repeat."
)
@click.option("--http", metavar="ADDRESS:PORT", help='Health, metrics and status here; "" for nowhere.')
@click.option("--storage", metavar="URL", help="The queue's database.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--log-json", is_flag=True, help="One JSON object a line, not key=value.")
def serve(listen: tuple[str, ...], http: str | None, storage: str | None, log_level: str, log_json: bool) -> int:
    """Run the service until SIGTERM or Ctrl-C; SIGHUP reads the configuration again.

    The log goes to standard error. Addresses of persons are in it at --log-level debug alone.

    \b
    Examples:
      fallback-mx serve --config deploy/fallback-mx.toml
      fallback-mx serve --listen 127.0.0.1:2525 --http 127.0.0.1:8025 --storage sqlite:///var/queue.db
    """
    from fallback_mx import maillog, service
    from fallback_mx.config import ConfigError

    given: dict[str, object] = {"server.listen": list(listen) or None, "http.listen": http, "storage.url": storage}
    overrides = {key: value for key, value in given.items() if value is not None}
    maillog.configure(log_level, as_json=log_json)
    maillog.capture_libraries()
    try:
        return service.run(config_path(), overrides)
    except ConfigError as error:
        raise error.naming({key: OPTIONS[key] for key in overrides}) from None
