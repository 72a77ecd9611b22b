"""The settlement of a month: agreements, what operators and customers said of outages, and the reports made of it."""
