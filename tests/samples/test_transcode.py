"""Transcoding: ffmpeg's reports read right, and with a real ffmpeg the conversion and its end."""

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
def film(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    """Three seconds of test picture and tone."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    picture = ("-f", "lavfi", "-i", "testsrc=duration=3:size=320x240:rate=25")
    tone = ("-f", "lavfi", "-i", "sine=duration=3")
    command = ["ffmpeg", "-v", "error", "-nostdin", *picture, *tone, "-c:v", "libx264", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    return Upload(path, "film.mkv", "video/x-matroska", path.stat().st_size)


def test_reports_are_read_from_the_progress_pipe() -> None:
    pipe = io.StringIO(
        "frame=0\nout_time_us=N/A\nspeed=N/A\nprogress=continue\n"
        "frame=10\nout_time_us=-23000\nspeed= 1.5x\nprogress=continue\n"
        "frame=99\nout_time_us=4960000\nspeed=12x\nprogress=end\n"
    )
    assert list(ffmpeg._advances(pipe)) == [Advance(0.0, ""), Advance(0.0, "1.5x"), Advance(4.96, "12x")]


def test_a_songs_cover_is_no_video() -> None:
    cover = {"codec_type": "video", "codec_name": "mjpeg", "disposition": {"attached_pic": 1}}
    with pytest.raises(JobFailed, match="no video"):
        ffmpeg._read_probe({"streams": [cover, {"codec_type": "audio", "codec_name": "mp3"}]})


def test_a_film_without_a_known_duration_is_still_a_film() -> None:
    video = {"codec_type": "video", "codec_name": "h264", "width": 640, "height": 480}
    assert ffmpeg._read_probe({"streams": [video], "format": {}}) == Probe(None, 640, 480, "h264", None)


def test_without_ffmpeg_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert ffmpeg.unavailable() == "ffmpeg is not installed (Debian: apt-get install ffmpeg)"


@pytest.mark.parametrize("bad", [{"height": 5000}, {"format": "exe"}, {"height": "480; rm"}])
def test_options_are_from_a_list(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Transcode.model_validate({"file": Upload(Path("x"), "x", "video/mp4", 1), **bad})


@needs_ffmpeg
@pytest.mark.parametrize(
    ("format_", "height", "codecs", "made_height"),
    [("mp4", 1080, ("h264", "aac"), 240), ("webm", None, ("vp9", "opus"), 240)],
)
def test_a_film_is_converted_and_never_enlarged(
    format_: str,
    height: int | None,
    codecs: tuple[str, str],
    made_height: int,
    film: Upload,
    context: BlockingContext,
) -> None:
    wanted = Transcode.model_validate({"file": film, "format": format_, "height": height})
    made = transcode(context, wanted)
    assert (made.video_codec, made.audio_codec) == codecs
    assert made.height == made_height
    assert made.duration_seconds == pytest.approx(3, abs=0.2)
    assert made.size_bytes == (context.output_dir / f"video.{format_}").stat().st_size
    assert context._reported.done == pytest.approx(3, abs=0.2)
    assert (context._reported.total, context._reported.unit) == (pytest.approx(3, abs=0.1), "seconds")


@needs_ffmpeg
def test_what_is_no_film_fails_with_ffmpegs_own_words(tmp_path: Path, context: BlockingContext) -> None:
    path = tmp_path / "secret-place.mp4"
    path.write_bytes(b"no film at all")
    with pytest.raises(JobFailed, match="Not a video that ffmpeg can read") as failure:
        transcode(context, Transcode(file=Upload(path, "film.mp4", "video/mp4", 14)))
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
    playlist: str, film: Upload, tmp_path: Path, context: BlockingContext
) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text(playlist.format(film.path))
    with pytest.raises(JobFailed, match="Not a video"):
        transcode(context, Transcode(file=Upload(path, "film.mp4", "video/mp4", 1)))


@needs_ffmpeg
def test_a_failed_conversion_has_the_end_of_ffmpegs_messages(film: Upload, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="could not convert") as failure:
        list(ffmpeg.run(film.path, ["-c:v", "no-such-codec"], tmp_path / "out.mp4"))
    assert "no-such-codec" in str(failure.value.detail)


def children() -> list[str]:
    """Return this process's children, dead ones that nobody has waited for included."""
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return task.read_text().split()


@needs_ffmpeg
def test_ffmpeg_is_gone_when_the_handler_leaves_in_the_middle(film: Upload, tmp_path: Path) -> None:
    before = children()
    endless = ["-vf", "loop=loop=-1:size=1:start=0", "-c:v", "libx264"]
    with closing(ffmpeg.run(film.path, endless, tmp_path / "out.mp4")) as advances:
        next(advances)
        assert len(children()) == len(before) + 1
    assert children() == before


@needs_ffmpeg
def test_a_cancelled_conversion_stops_ffmpeg(film: Upload, context: BlockingContext) -> None:
    context._cancelled = True
    before, started_s = children(), calm_s()
    with pytest.raises(JobCancelled):
        transcode(context, Transcode(file=film))
    assert children() == before
    assert calm_s() - started_s < 10
