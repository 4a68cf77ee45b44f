"""Running it: logging, metrics, checks. Knows counters and settings, never what they mean to a room."""
