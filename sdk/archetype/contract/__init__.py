"""The wire contract: every request and response document of the API. Imports pydantic only and does no I/O."""
