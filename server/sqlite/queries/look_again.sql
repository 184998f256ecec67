UPDATE receivers SET due_at = :due_at WHERE owner = :owner AND host = :host
