"""The memr service: episodic-memory rewards over HTTP. `memr_service.app.create_app` is its entrance."""
