"""The one version of the API, the workers, the client and the command line."""

VERSION = "0.2.0"
