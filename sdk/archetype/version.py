"""The one version of the client, the command line, the API and the workers."""

VERSION = "0.3.0"
