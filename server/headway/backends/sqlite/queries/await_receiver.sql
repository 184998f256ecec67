INSERT INTO receivers (owner, host, due_at) VALUES (:owner, :host, :due_at)
ON CONFLICT (owner, host) DO UPDATE SET due_at = min(due_at, excluded.due_at)
