"""`python -m archetype` runs the command line."""

from archetype.cli.app import main

if __name__ == "__main__":
    main()
