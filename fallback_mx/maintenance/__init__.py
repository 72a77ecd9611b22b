"""Maintenance: what was announced and what was cancelled, on record in the database, and the windows that follow."""
