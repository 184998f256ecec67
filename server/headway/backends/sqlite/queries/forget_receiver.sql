DELETE FROM receivers WHERE owner = :owner AND host = :host
