"""Who is asking and what they may do: keys, sessions, tickets, origins, hosts, rates."""
