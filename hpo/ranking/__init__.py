"""The embedded ranker as a trainable: the only room of the search that knows the trainer."""
