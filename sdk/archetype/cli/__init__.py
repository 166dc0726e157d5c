"""The command line `archetype`: a module per group of commands."""
