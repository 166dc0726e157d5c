"""Parameters of the methods: one module for each method, and modules for what several methods share."""
