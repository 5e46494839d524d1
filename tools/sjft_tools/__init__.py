"""The offline half of sjft: the command ``sjft`` and what stands behind its subcommands."""
