"""What is read of campaigns, and changes nothing."""
