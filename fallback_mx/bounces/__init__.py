"""Bounces: whether a report may go to a sender, and the report."""
