"""Routes: health, metrics, the dashboard and the browser phone."""
