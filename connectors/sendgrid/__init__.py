"""SendGrid's marketing contacts: its connector, and a simulator that knows nothing of it."""
