"""`python -m divcon` is `divcon`."""

from .cli import main

main(prog_name="divcon")
