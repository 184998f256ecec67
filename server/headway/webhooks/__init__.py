"""Sending webhooks: takes due deliveries from the outbox, signs them, and sends them to public addresses only.

Which deliveries there are is decided where jobs are recorded, in the backend; the schedule of retries is in the domain.
"""
