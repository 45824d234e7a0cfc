"""What is done to a campaign as a whole, beside searching."""
