"""Courier processes: connections to primaries are held there while a drain has much to do (`[server] workers`).

The service claims, decides and settles; a courier process is told which connections to open and what to deliver, reads
the content by itself, and tells what became of it. It writes nothing. If the service goes, so does it, at once.
"""
