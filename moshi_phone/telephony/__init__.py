"""Twilio, and Twilio only: protocol, REST, TwiML, webhooks, numbers."""
