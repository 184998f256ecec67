"""Writing responses: JSON, files, and responses that are bytes already."""
