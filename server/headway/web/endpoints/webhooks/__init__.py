"""Webhooks: their deliveries, the secrets that sign them, and a request that tries a receiver out."""
