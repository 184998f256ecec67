INSERT INTO deliveries (id, job_id, owner, event, url, host, status, due_at, created_at, body)
VALUES (:id, :job_id, :owner, :event, :url, :host, 'pending', :due_at, :created_at, :body)
