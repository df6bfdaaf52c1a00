"""The user's webhooks: who may call, and reports of calls."""
