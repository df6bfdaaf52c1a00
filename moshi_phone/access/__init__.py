"""Authentication: stream tokens, Twilio's signatures, the dashboard's password, redaction."""
