SELECT min(due_at) FROM receivers
