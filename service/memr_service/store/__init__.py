"""Where records are made durable."""
