"""HubSpot's CRM (objects v3, associations v4): its connector, and a simulator that knows nothing of it."""
