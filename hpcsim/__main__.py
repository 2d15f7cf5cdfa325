"""`python -m hpcsim`, the same as the command `hpcsim`."""

import sys

try:
    from hpcsim.cli import main
except MemoryError:  # ulimit -v below 30 MB
    sys.exit("hpcsim: error: not enough memory to begin")

sys.exit(main())
