"""What a source is refused for, in one sentence each, and what is only warned about."""
