"""`transcode`: converts an uploaded video to another size and format with ffmpeg, and reports ffmpeg's progress."""

from contextlib import closing
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headway import BlockingContext, Upload, job

from . import ffmpeg

_CODECS: Final = {
    "mp4": "-c:v libx264 -preset veryfast -crf 23 -c:a aac -movflags +faststart",
    "webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 6 -b:v 0 -crf 34 -c:a libopus",
}


class Transcode(BaseModel):
    """A video, and the format and height to convert it to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "mp4", "height": 480}]})

    file: Upload = Field(
        title="Video",
        description="Anything that ffmpeg can read: MP4, MOV, MKV, AVI, WebM and many more.",
        json_schema_extra={"contentMediaType": "video/*"},
    )
    format: Literal["mp4", "webm"] = Field(default="mp4", title="Format", description="mp4: H.264; webm: VP9.")
    height: Literal[240, 360, 480, 720, 1080] | None = Field(
        default=None, title="Height in pixels", description="The width follows. Unchanged if omitted; never enlarged."
    )


class Video(BaseModel):
    """The converted video."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    duration_seconds: float | None
    size_bytes: int
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


@job("transcode", title="Convert a video", unavailable=ffmpeg.unavailable)
def transcode(ctx: BlockingContext, input: Transcode) -> Video:
    """Converts a video to another size and format that every browser can play."""
    source = ffmpeg.probe(input.file.path)
    ctx.log(f"{source.width}x{source.height}, {source.video_codec}, audio: {source.audio_codec or 'none'}")
    ctx.progress(0, source.duration_s, unit="seconds", step="converting")
    target = ctx.output_dir / f"video.{input.format}"
    with closing(ffmpeg.run(input.file.path, _arguments(input), target)) as advances:
        for advance in advances:
            ctx.raise_if_cancelled()
            done_s = min(advance.done_s, source.duration_s or advance.done_s)
            ctx.progress(round(done_s, 1), message=f"at {advance.speed} speed" if advance.speed else None)
    made = ffmpeg.probe(target)
    return Video(
        duration_seconds=made.duration_s,
        size_bytes=target.stat().st_size,
        width=made.width,
        height=made.height,
        video_codec=made.video_codec,
        audio_codec=made.audio_codec,
    )


def _arguments(wanted: Transcode) -> list[str]:
    # The first video stream and the first audio stream, if there is one; no subtitles, no data.
    streams = ("-map", "0:V:0", "-map", "0:a:0?", "-sn", "-dn")
    # H.264 requires even dimensions; a comma in an expression must be escaped.
    height = f"min({wanted.height}\\,ih)" if wanted.height else "ih"
    scale = f"scale=-2:2*trunc({height}/2),format=yuv420p"
    return [*streams, "-vf", scale, *_CODECS[wanted.format].split()]
