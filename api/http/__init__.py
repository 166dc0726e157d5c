"""HTTP concerns that all routes share: authentication, parsing, responses, files, problems and OpenAPI."""
