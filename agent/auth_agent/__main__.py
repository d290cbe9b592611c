"""`python -m auth_agent`."""

import sys

from auth_agent.cli import main

sys.exit(main())
