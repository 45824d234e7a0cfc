"""The laboratory of the search: whole campaigns of the real engine on made-up trainings whose best is known."""
