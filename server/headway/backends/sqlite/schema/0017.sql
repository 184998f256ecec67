-- The deliveries of one owner, newest first; and when the owner of a secret was given it.

CREATE INDEX deliveries_of_owner ON deliveries (owner, id);

ALTER TABLE webhook_secrets ADD COLUMN revealed_at INTEGER;
