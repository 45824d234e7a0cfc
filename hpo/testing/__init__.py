"""Memory twins of the stores, for tests and simulations."""
