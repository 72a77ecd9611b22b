"""Rescue: mail out of a queue into files, and out of files into a queue."""
