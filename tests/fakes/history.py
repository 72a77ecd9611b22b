"""A history on record: outages and watched time, written as people write times, put into an operator's database."""

from __future__ import annotations

from fallback_mx.outages.gaps import Cause, Gap
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from tests.fakes.operator import Operator
from tests.fakes.settled import between, moment


def span(span_id: str, times: str, primary: str = "main", node: str = "mx2", cause: str = "refused") -> Span:
    interval = between(times)
    end = None if times.endswith("> now") else interval.end
    return Span(span_id, primary, node, interval.start, "connect", cause, interval.start, None, end, "250 hi")


def watch(watch_id: str, times: str, primary: str = "main", node: str = "mx2") -> Watch:
    start, _, end = times.partition(" > ")
    return Watch(watch_id, primary, node, moment(start), moment(end))


def gap(gap_id: str, times: str, cause: Cause, primary: str = "main", node: str = "mx2") -> Gap:
    interval = between(times)
    return Gap(gap_id, primary, node, interval.start, interval.end, cause)


def on_record(operator: Operator, *values: Span | Watch | Gap) -> None:
    queue = operator.open()
    try:
        log = OutageLog(queue.writer.submit, queue.read, "mx2")
        spans = [value for value in values if isinstance(value, Span)]
        watches = [value for value in values if isinstance(value, Watch)]
        log.write(spans, watches, [value for value in values if isinstance(value, Gap)]).result()
    finally:
        queue.close()
