"""Read by every Python process whose path holds this folder: sets the trap that a test put into its environment."""

import os

if "TIERTUNE_TEST_TRAP" in os.environ:
    from support import traps

    traps.install()
