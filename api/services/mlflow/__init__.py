"""An MLflow model registry: its versions are imported, audited, and get the verdicts."""
