"""Accepting processes: sessions are held in several, the queue is kept by one (`[server] workers`).

Each accepting process listens on the sockets that the service opened, and hands what it received to the service over a
socket of its own; it answers 250 once the service has told it of the commit. It has no database, no health, no
deliveries. If the service goes, so does it, at once: nobody is left to commit anything.
"""
