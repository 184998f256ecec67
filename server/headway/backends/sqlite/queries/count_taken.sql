SELECT count(*) FROM deliveries WHERE status = 'pending' AND owner = :owner AND host = :host AND taken = 1
