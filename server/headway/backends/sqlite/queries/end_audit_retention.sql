DELETE FROM audit_retention
