"""What a person asks for: run, resume, report, compare, predict, sync, check."""
