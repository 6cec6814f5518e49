"""`python -m pytest_bettertogether`: the console command, where the folder of scripts is not on the PATH."""

import sys

from .command.cli import main

if __name__ == "__main__":
    sys.exit(main())
