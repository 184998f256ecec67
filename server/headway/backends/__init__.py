"""Where jobs are recorded. Each backend implements the ports in a folder of its own and knows no other backend.

What backends share is here too: `memory`, what they keep at hand, and `bells`, which notify the rooms of one process.
Rules about jobs belong to the domain.
"""
