"""What finished campaigns chose, trained again with more of the data."""
