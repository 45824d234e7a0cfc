"""The trainer's command line and looks inside a training."""
