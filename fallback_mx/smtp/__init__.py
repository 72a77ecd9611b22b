"""The only place that speaks SMTP: inbound sessions, outbound couriers, probes."""
