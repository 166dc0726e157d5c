"""A zoo of releases, with planted shortcuts and without, that audits are measured on."""
