"""One file per method of the menu: `run` says in the engine's words what the method does."""
