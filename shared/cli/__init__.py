"""The command line: `archetype submit class-model --model shapes --targets lemon,bee --wait`."""
