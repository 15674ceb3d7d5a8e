"""Mailchimp Marketing, the newsletter: its connector, and a simulator that knows nothing of it."""
