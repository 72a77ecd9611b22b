"""What an agreement is about: time that counts as up, as down, and as nobody's knowledge."""
