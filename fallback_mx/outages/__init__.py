"""The record of outages: spans of failure, and the time in which somebody was watching."""
