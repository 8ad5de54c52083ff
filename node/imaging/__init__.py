"""Pictures decoded, measured and rendered in bounded worker processes."""
