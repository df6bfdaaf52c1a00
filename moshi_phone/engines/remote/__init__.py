"""An engine whose calls go to Moshi servers, by their WebSocket protocol."""
