"""How soon work starts, and what a loaded model costs: Headway against Celery, SAQ and `ProcessPoolExecutor`.

Nothing is bound to a core: where each job has a process, processes are what is measured, and they need all cores.
"""
