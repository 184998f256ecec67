"""What the unit tests share."""

from hypothesis import settings

# A busy machine is no failure, and a failure must be the same one when it is run again.
settings.register_profile("headway", deadline=None, derandomize=True)
settings.load_profile("headway")
