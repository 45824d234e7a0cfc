"""Whether the search finds nothing where there is nothing: random walks in every supported shape of file."""
