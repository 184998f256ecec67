UPDATE receivers SET failing = :failing WHERE owner = :owner AND host = :host
