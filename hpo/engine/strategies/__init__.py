"""What a search can be told to do otherwise, by name: who proposes, and who stops."""
