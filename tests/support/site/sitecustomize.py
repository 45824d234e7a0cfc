"""Read by every Python process whose path holds this folder: sets the trap that a test put into its environment, and
takes the name of the host that it is to run on."""

import os
import socket

if "TIERTUNE_TEST_TRAP" in os.environ:
    from support import traps

    traps.install()

if "TIERTUNE_TEST_HOST" in os.environ:
    socket.gethostname = lambda: os.environ["TIERTUNE_TEST_HOST"]
