"""The examples in the help of the commands for jobs."""

ID = "01a1fa65-5e24-7000-907c-ce2934a25611"

EXAMPLES = {
    "submit": (
        "headway submit ping message=hello --watch",
        "headway submit transcode --file file=film.mov height=480",
        "jq -c '.[]' cities.json | headway submit weather - --watch",
    ),
    "watch": (f"headway watch {ID}", "headway list --status running --quiet | headway watch -"),
    "list": (
        "headway list --status failed --since 24h",
        "headway list --status failed --quiet | headway retry -",
        "headway list --json | jq -r 'select(.progress > 50).jobId'",
    ),
    "show": (f"headway show {ID}", f"headway show --json {ID} | jq .result"),
    "logs": (f"headway logs --follow {ID}",),
    "result": (f"headway result {ID}", f"headway result --wait {ID} | jq .rows"),
    "files": (f"headway files {ID}", f"headway files {ID} report.csv --to reports", f"headway files {ID} --all"),
    "retry": (f"headway retry {ID}", "headway list --status failed --quiet | headway retry -"),
    "delete": (f"headway delete {ID}",),
    "types": ("headway types", "headway types ping", "headway types --json | jq .inputSchema"),
    "stats": ("headway stats", "headway stats --json"),
    "open": ("headway open",),
    "login": ("headway login https://jobs.example.com", "headway login --forget"),
    "completion": (
        'eval "$(headway completion bash)"    # in ~/.bashrc',
        "headway completion fish > ~/.config/fish/completions/headway.fish",
    ),
    "cancel": (
        f"headway cancel {ID}",
        "headway list --type import --status queued --quiet | headway cancel -",
    ),
}


def epilog(command: str) -> str | None:
    """What stands at the end of a command's help."""
    examples = EXAMPLES.get(command)
    return None if examples is None else "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)
