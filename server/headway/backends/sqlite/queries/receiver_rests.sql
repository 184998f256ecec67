UPDATE receivers SET rests_until = :rests_until WHERE owner = :owner AND host = :host
