INSERT INTO audit_retention (only, before) VALUES (1, :before)
