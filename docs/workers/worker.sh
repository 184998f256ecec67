#!/usr/bin/env bash
# A worker in bash: claims jobs of one type, runs a command for each, and reports. Needs bash 5.1, curl 7.76 and what
# comes with Linux: setsid, iconv and the GNU core utilities.
#
#   HEADWAY_KEY=hwk_... ./worker.sh https://jobs.example.com print-invoice ./print.sh
#
# The command finds the claim (JSON) in its standard input and writes the result (JSON) to its standard output. What it
# writes to standard error is the job's log. Exit status 0: done; 2: failed for good; another: failed, to be tried again.
# In a command that is a bash script, the function `headway` sends whatever else a worker can send:
#
#   headway progress '{"done": 3, "total": 10}'
#   headway checkpoint '{"row": 500}'
#   headway inputs/scan --output scan.pdf
#   headway files/report.pdf --upload-file report.pdf

set -uo pipefail

if (($# < 3)); then
    echo "usage: worker.sh URL TYPE COMMAND [ARGUMENT...]" >&2
    exit 2
fi
export HEADWAY_WORK="${1%/}/work/$2" HEADWAY_LEASE=''
command=("${@:3}")

headers() { # in a file of their own, because everybody can read the arguments of a program
    printf 'Headway-Lease: %s\n' "$HEADWAY_LEASE"
    if [[ ${HEADWAY_KEY-} ]]; then printf 'Authorization: Bearer %s\n' "$HEADWAY_KEY"; fi
}

headway() { # headway STEP [JSON] [OPTION OF CURL...]: one request; fails with status 22 if it is refused
    local step=$1
    shift
    if [[ ${1-} == [{[]* ]]; then set -- --header 'Content-Type: application/json' --data-raw "$1" "${@:2}"; fi
    if [[ $step != inputs/* && $step != files/* ]]; then set -- --request POST "$@"; fi
    curl --silent --show-error --fail --retry 5 --retry-connrefused --header @<(headers) "$@" "$HEADWAY_WORK/$step"
}
export -f headers headway

send_log() { # sends what has been added to the log of the attempt, in pieces that are small enough for the server
    local piece=$directory/piece lines
    while true; do
        tail --bytes "+$((sent + 1))" "$directory/log" | head --bytes 500000 | tr '\r' '\n' | head --lines 1000 >"$piece"
        lines=$(wc --lines <"$piece")
        if ((lines > 0)); then # whole ones only
            truncate --size "$(head --lines "$lines" "$piece" | wc --bytes)" "$piece"
        elif [[ ! -s $piece || $job && $(wc --bytes <"$piece") -lt 500000 ]]; then # the command is still writing the line
            return
        fi
        { iconv -c --from-code UTF-8 --to-code UTF-8 "$piece" 2>/dev/null || true; } | # it fails if it drops anything
            headway logs --header 'Content-Type: text/plain' --data-binary @- >"$directory/answer" || return
        sent=$((sent + $(wc --bytes <"$piece")))
    done
}

run() { # runs the command beside the heartbeat, until it ends or has to; sets `status`, and `stopped`
    local beat=$1 signal=TERM ended='' timer
    stopped=
    setsid "${command[@]}" <"$directory/claim" >"$directory/result" 2>"$directory/log" &
    job=$!
    while [[ $ended != "$job" ]]; do
        sleep "$beat" &
        timer=$!
        wait -n -p ended "$job" "$timer"
        status=$?
        kill "$timer" 2>/dev/null
        send_log
        headway progress >"$directory/answer"
        if (($? == 22)) || grep --quiet '"cancel":true' "$directory/answer"; then
            stopped=1
            kill "-$signal" -- "-$job" 2>/dev/null
            signal=KILL # if it goes on
        fi
    done
    kill -KILL -- "-$job" 2>/dev/null # what it has started and left behind
    job=
}

end() { # reports how the command has ended
    if [[ $stopped ]]; then
        headway fail '{"title": "The worker was told to stop"}'
    elif ((status == 0)); then
        { printf '{"result": ' && cat "$directory/result" && printf '}'; } |
            headway complete --header 'Content-Type: application/json' --data-binary @- ||
            headway fail '{"title": "The result was refused", "retry": false}'
    else
        local retry=true
        if ((status == 2)); then retry=false; fi
        headway fail "{\"title\": \"The command failed\", \"detail\": \"Exit status $status\", \"retry\": $retry}"
    fi
}

attempt() { # does the job of a claim
    [[ $1 =~ \"lease\":\"([A-Za-z0-9_-]+)\",\"leaseSeconds\":([0-9]+) ]] || return
    HEADWAY_LEASE=${BASH_REMATCH[1]}
    local beat=$(((BASH_REMATCH[2] + 2) / 3))
    directory=$(mktemp --directory)
    sent=0
    printf '%s\n' "$1" >"$directory/claim"
    run "$beat"
    send_log
    end
    rm --recursive "$directory"
}

job=
trap 'if [[ $job ]]; then kill -KILL -- "-$job" 2>/dev/null; fi; exit 0' TERM INT
while true; do
    if ! claim=$(headway 'claim?wait=30'); then
        sleep 5
    elif [[ $claim ]]; then
        attempt "$claim"
    fi
done
