"""What models answered and what turned out to be true: ingestion, labels, privacy, storage."""
