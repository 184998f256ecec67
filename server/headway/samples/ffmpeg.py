"""ffmpeg and ffprobe as child processes that report their progress and never outlive the job."""

import json
import shutil
import subprocess
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Any, Final

from headway import JobFailed

_STDERR_LINES: Final = 20
_PROBE_TIMEOUT_S: Final = 60
_KILL_TIMEOUT_S: Final = 10
# An uploaded playlist (HLS, concat, DASH) would make ffmpeg fetch URLs, or copy another file of this machine into the
# video. So network protocols, and formats that refer to other files, are not allowed.
_CONTAINERS: Final = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,m4v,h264,hevc,ivf,mxf"
_ONE_FILE: Final = ("-protocol_whitelist", "file,pipe", "-format_whitelist", _CONTAINERS)


def unavailable() -> str | None:
    """Return why videos cannot be converted on this machine, or None."""
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        return None
    return "ffmpeg is not installed (Debian: apt-get install ffmpeg)"


@dataclass(frozen=True, slots=True)
class Probe:
    """What ffprobe reports about a video file; the duration is None if the container does not state it."""

    duration_s: float | None
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


@dataclass(frozen=True, slots=True)
class Advance:
    """One of ffmpeg's progress reports."""

    done_s: float
    speed: str


def probe(path: Path) -> Probe:
    """Inspect a file. Raises JobFailed if it contains no video that ffmpeg can read."""
    wanted = "format=duration:stream=codec_type,codec_name,width,height,duration:stream_disposition=attached_pic"
    command = ["ffprobe", "-v", "error", *_ONE_FILE, "-show_entries", wanted, "-of", "json", f"file:{path}"]
    try:
        found = subprocess.run(  # noqa: S603 - no shell, and the path is the server's own
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        detail = error.stderr.decode(errors="replace").replace(f"file:{path}", "the file").strip()
        raise JobFailed("Not a video that ffmpeg can read", detail=detail[-1000:]) from None
    except subprocess.TimeoutExpired:
        raise JobFailed("Not a video that ffmpeg can read", detail="Inspecting it took too long.") from None
    return _read_probe(json.loads(found.stdout))


def _read_probe(found: dict[str, Any]) -> Probe:
    streams = found.get("streams", [])
    # The cover of a music file is a video stream too.
    video = next(
        (
            stream
            for stream in streams
            if stream.get("codec_type") == "video" and not stream.get("disposition", {}).get("attached_pic")
        ),
        None,
    )
    if video is None:
        raise JobFailed("The file contains no video")
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    duration = found.get("format", {}).get("duration") or video.get("duration")
    return Probe(
        duration_s=float(duration) if duration else None,
        width=int(video.get("width", 0)),
        height=int(video.get("height", 0)),
        video_codec=str(video.get("codec_name", "unknown")),
        audio_codec=str(audio.get("codec_name", "unknown")) if audio else None,
    )


def run(source: Path, arguments: Sequence[str], target: Path) -> Generator[Advance]:
    """Convert `source` to `target`, yielding progress four times a second.

    ffmpeg is killed when the iteration ends for whatever reason: close the generator (`contextlib.closing`).
    Raises JobFailed with the last of ffmpeg's messages if it does not succeed.
    """
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", "-progress", "pipe:1"]
    command += ["-stats_period", "0.25"]
    command += [*_ONE_FILE, "-i", f"file:{source}", *arguments, f"file:{target}"]
    with _process(command) as (process, reader, messages):
        yield from _advances(process.stdout)
        if process.wait(_KILL_TIMEOUT_S) != 0:
            reader.join(_KILL_TIMEOUT_S)  # the last messages may still be in the pipe
            detail = "\n".join(messages).replace(str(source), "the file").replace(str(target), "the output")
            raise JobFailed("ffmpeg could not convert the video", detail=detail[-2000:] or None)


@contextmanager
def _process(command: Sequence[str]) -> "Iterator[tuple[subprocess.Popen[str], Thread, deque[str]]]":
    messages: deque[str] = deque(maxlen=_STDERR_LINES)
    process = subprocess.Popen(  # noqa: S603 - no shell, and the paths are the server's own
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    # Read concurrently with the progress reports: a full pipe would block ffmpeg.
    reader = Thread(target=_collect, args=(process.stderr, messages), daemon=True)
    reader.start()
    try:
        yield process, reader, messages
    finally:
        process.kill()
        process.wait(_KILL_TIMEOUT_S)
        reader.join(_KILL_TIMEOUT_S)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _collect(pipe: IO[str], messages: deque[str]) -> None:
    for line in pipe:
        messages.append(line.rstrip()[:500])


def _advances(pipe: IO[str] | None) -> Iterator[Advance]:
    """Read blocks of `key=value` lines, each ended by `progress=`."""
    values: dict[str, str] = {}
    for line in pipe or ():
        key, _, value = line.strip().partition("=")
        values[key] = value
        if key == "progress":
            done_us = values.get("out_time_us", "0")
            speed = values.get("speed", "").strip()
            # Before the first frame ffmpeg reports N/A.
            yield Advance(
                done_s=max(0, int(done_us)) / 1e6 if done_us.lstrip("-").isdecimal() else 0.0,
                speed="" if speed == "N/A" else speed,
            )
