"""What a person types: one module per subcommand of `fewpick`, each with `main(argv)`."""

from __future__ import annotations
