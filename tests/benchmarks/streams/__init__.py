"""Event streams: Headway against Python libraries and nginx, with the load generator that watches them."""
