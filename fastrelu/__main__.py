"""``python -m fastrelu``: the shell command."""

from .cli import main

raise SystemExit(main())
