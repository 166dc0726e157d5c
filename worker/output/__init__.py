"""Output of a job: artifacts, previews and contact sheets."""
