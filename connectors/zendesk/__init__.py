"""Zendesk Support, the support desk: its connector, and a simulator that knows nothing of it."""
