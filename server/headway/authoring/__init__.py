"""What a job's author writes against: `@job`, contexts, uploads, resources; and how their modules are loaded.

It knows neither store nor HTTP nor how jobs are run, so that a child process can import it quickly.
"""
