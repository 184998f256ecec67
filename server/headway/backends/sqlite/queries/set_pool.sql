INSERT OR REPLACE INTO pools VALUES (:type, :pool)
