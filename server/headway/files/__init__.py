"""The bytes of jobs: uploads, working directories, output files. Not the record of jobs."""
