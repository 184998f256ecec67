UPDATE webhook_secrets SET revealed_at = :now WHERE owner = :owner AND secret = :secret
