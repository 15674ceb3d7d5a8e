"""Stripe, the billing system: its connector, and a simulator that knows nothing of it."""
