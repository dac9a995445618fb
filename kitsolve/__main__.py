"""`python -m kitsolve`: the command line."""

from kitsolve.cli import main

if __name__ == "__main__":  # a loading process that is spawned imports this module, too
    main()
