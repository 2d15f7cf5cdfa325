"""`python -m hpcsim`, the same as the command `hpcsim`."""

import sys

from hpcsim.cli import main

sys.exit(main())
