"""What customers and the public are told: the facts of the status page, as far as they may be known."""
