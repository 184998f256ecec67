"""Pure data and rules: jobs and their states, outcomes, filters, progress, deliveries, owners, URLs.

There is no I/O here, no clock and no asyncio: functions are given the time and random numbers. The room imports nothing
of Headway's but `headway.errors`. Instants are aware UTC datetimes in whole milliseconds.
"""
