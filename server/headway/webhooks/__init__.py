"""Delivering webhooks: taking what is due from the outbox, signing it and sending it to public addresses only.

What is to be delivered is decided where jobs are recorded; this room sends it.
"""
