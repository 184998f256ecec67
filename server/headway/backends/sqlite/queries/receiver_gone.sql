INSERT INTO gone_receivers (owner, url, at) VALUES (:owner, :url, :now)
ON CONFLICT (owner, url) DO UPDATE SET at = max(at, excluded.at)
