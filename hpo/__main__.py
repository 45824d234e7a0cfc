"""`python -m hpo`: the same as the command `hpo`."""

import sys

from hpo.cli import main

sys.exit(main())
