"""One training over several devices: a process for each, which share the days of every span."""
