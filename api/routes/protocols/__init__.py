"""Routes in the formats of other systems: KServe explains, MLflow sends events."""
