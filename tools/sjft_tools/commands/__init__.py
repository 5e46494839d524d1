"""One module per subcommand, each with ``add_arguments(parser)`` and ``run(args)``.

What they do stands in the module's docstring, which ``sjft COMMAND --help`` shows.
"""
