UPDATE receivers SET due_at = max(:due_at, coalesce(rests_until, 0)) WHERE owner = :owner AND host = :host
