"""Pure data and rules: jobs and their states, outcomes, filters, progress, deliveries, owners, URLs.

No I/O, no clock, no asyncio, and nothing from another room but `headway.errors`. What needs the time or a random
number is given it.
"""
