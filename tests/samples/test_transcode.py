"""Transcoding: reading ffmpeg's progress, and converting and stopping with a real ffmpeg."""

import io
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from headway import BlockingContext, JobCancelled, JobFailed, Upload
from headway.samples import ffmpeg
from headway.samples.ffmpeg import Advance, Probe
from headway.samples.transcode import Transcode, transcode
from pydantic import ValidationError

from tests.support.process import calm_s

needs_ffmpeg = pytest.mark.skipif(ffmpeg.unavailable() is not None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    """Three seconds of a test picture and a tone."""
    path = tmp_path_factory.mktemp("video") / "video.mkv"
    picture = ("-f", "lavfi", "-i", "testsrc=duration=3:size=320x240:rate=25")
    tone = ("-f", "lavfi", "-i", "sine=duration=3")
    command = ["ffmpeg", "-v", "error", "-nostdin", *picture, *tone, "-c:v", "libx264", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    return Upload(path, "video.mkv", "video/x-matroska", path.stat().st_size)


def test_progress_is_read_from_ffmpegs_pipe() -> None:
    pipe = io.StringIO(
        "frame=0\nout_time_us=N/A\nspeed=N/A\nprogress=continue\n"
        "frame=10\nout_time_us=-23000\nspeed= 1.5x\nprogress=continue\n"
        "frame=99\nout_time_us=4960000\nspeed=12x\nprogress=end\n"
    )
    assert list(ffmpeg._advances(pipe)) == [Advance(0.0, ""), Advance(0.0, "1.5x"), Advance(4.96, "12x")]


def test_the_cover_of_a_music_file_is_not_a_video() -> None:
    cover = {"codec_type": "video", "codec_name": "mjpeg", "disposition": {"attached_pic": 1}}
    with pytest.raises(JobFailed, match="no video"):
        ffmpeg._read_probe({"streams": [cover, {"codec_type": "audio", "codec_name": "mp3"}]})


def test_a_video_of_unknown_duration_is_accepted() -> None:
    video = {"codec_type": "video", "codec_name": "h264", "width": 640, "height": 480}
    assert ffmpeg._read_probe({"streams": [video], "format": {}}) == Probe(None, 640, 480, "h264", None)


def test_without_ffmpeg_the_reason_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert ffmpeg.unavailable() == "ffmpeg is not installed (Debian: apt-get install ffmpeg)"


@pytest.mark.parametrize("bad", [{"height": 5000}, {"format": "exe"}, {"height": "480; rm"}])
def test_options_that_are_not_listed_are_rejected(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Transcode.model_validate({"file": Upload(Path("x"), "x", "video/mp4", 1), **bad})


@needs_ffmpeg
@pytest.mark.parametrize(
    ("format_", "height", "codecs", "made_height"),
    [("mp4", 1080, ("h264", "aac"), 240), ("webm", None, ("vp9", "opus"), 240)],
)
def test_a_video_is_converted_and_never_enlarged(
    format_: str,
    height: int | None,
    codecs: tuple[str, str],
    made_height: int,
    video: Upload,
    context: BlockingContext,
) -> None:
    wanted = Transcode.model_validate({"file": video, "format": format_, "height": height})
    made = transcode(context, wanted)
    assert (made.video_codec, made.audio_codec) == codecs
    assert made.height == made_height
    assert made.duration_seconds == pytest.approx(3, abs=0.2)
    assert made.size_bytes == (context.output_dir / f"video.{format_}").stat().st_size
    assert context._reported.done == pytest.approx(3, abs=0.2)
    assert (context._reported.total, context._reported.unit) == (pytest.approx(3, abs=0.1), "seconds")


@needs_ffmpeg
def test_a_file_that_is_not_a_video_fails_with_ffmpegs_message(tmp_path: Path, context: BlockingContext) -> None:
    path = tmp_path / "secret-place.mp4"
    path.write_bytes(b"no video at all")
    with pytest.raises(JobFailed, match="Not a video that ffmpeg can read") as failure:
        transcode(context, Transcode(file=Upload(path, "video.mp4", "video/mp4", 14)))
    assert failure.value.detail
    assert "secret-place" not in failure.value.detail


@needs_ffmpeg
@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
    ],
)
def test_a_playlist_cannot_read_other_files(
    playlist: str, video: Upload, tmp_path: Path, context: BlockingContext
) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text(playlist.format(video.path))
    with pytest.raises(JobFailed, match="Not a video"):
        transcode(context, Transcode(file=Upload(path, "video.mp4", "video/mp4", 1)))


@needs_ffmpeg
def test_a_failed_conversion_reports_the_last_of_ffmpegs_messages(video: Upload, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="could not convert") as failure:
        list(ffmpeg.run(video.path, ["-c:v", "no-such-codec"], tmp_path / "out.mp4"))
    assert "no-such-codec" in str(failure.value.detail)


def children() -> list[str]:
    """Return this process's children, zombies included."""
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return task.read_text().split()


@needs_ffmpeg
def test_ffmpeg_is_killed_when_the_handler_stops_early(video: Upload, tmp_path: Path) -> None:
    before = children()
    endless = ["-vf", "loop=loop=-1:size=1:start=0", "-c:v", "libx264"]
    with closing(ffmpeg.run(video.path, endless, tmp_path / "out.mp4")) as advances:
        next(advances)
        assert len(children()) == len(before) + 1
    assert children() == before


@needs_ffmpeg
def test_a_cancelled_conversion_stops_ffmpeg(video: Upload, context: BlockingContext) -> None:
    context._cancelled = True
    before, started_s = children(), calm_s()
    with pytest.raises(JobCancelled):
        transcode(context, Transcode(file=video))
    assert children() == before
    assert calm_s() - started_s < 10
