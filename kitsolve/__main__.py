"""`python -m kitsolve`: the command line."""

from kitsolve.cli import main

main()
