"""The demo of `make demo`, its networks, and the images of the documentation and of the first page."""
