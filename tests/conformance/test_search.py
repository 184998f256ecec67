"""`JobFilter.terms`: jobs by the words of their labels, and of their messages while they run and after their end."""

import pytest
from headway.domain.filters import MOST_CHARS, MOST_TERMS, MOST_WORDS, JobFilter, terms_of, words_of
from headway.domain.outcomes import Retry
from headway.domain.progress import Progress
from headway.ports.jobs import JobStore, Tick

from tests.conformance.backends import Backend
from tests.conformance.records import DONE, ERROR, OWNER, STRANGER, at, finish, new_job, running_job
from tests.conformance.test_edits import edit


async def found(store: JobStore, query: str, limit: int = 50) -> list[str]:
    """The labels of the jobs that are found, page by page."""
    labels: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.page(OWNER, JobFilter(terms=terms_of(query)), limit, cursor)
        labels += [job.label or job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return labels


async def test_words_and_beginnings_of_words_are_found_in_any_case_and_spelling(store: JobStore) -> None:
    for label in (
        "Sales of March-2026",
        "sales: Zürich",
        "\N{FULLWIDTH LATIN CAPITAL LETTER S}ale",
        "STRASSE 7",
        "_x_",
    ):
        await store.insert(new_job(label=label))
    await store.insert(new_job(label="sales", owner=STRANGER))
    assert await found(store, "SALES") == ["sales: Zürich", "Sales of March-2026"]
    assert await found(store, "sale*", 1) == [
        "\N{FULLWIDTH LATIN CAPITAL LETTER S}ale",
        "sales: Zürich",
        "Sales of March-2026",
    ]
    assert await found(store, "2026 sal* march") == ["Sales of March-2026"]
    assert await found(store, "zürich") == ["sales: Zürich"]
    assert await found(store, "straße") == ["STRASSE 7"]
    assert await found(store, "x") == ["_x_"]
    assert await found(store, "ale") == await found(store, "sales 7") == await found(store, "sal") == []


async def test_a_job_with_several_words_that_begin_so_is_found_once(store: JobStore) -> None:
    for number in range(9):
        await store.insert(new_job(label=f"row rows rowers {number}"))
    for limit in (1, 2, 4, 50):
        assert await found(store, "row*", limit) == [f"row rows rowers {number}" for number in range(8, -1, -1)]


async def test_a_beginning_of_very_many_words_finds_all_of_them(store: JobStore) -> None:
    labels = [f"n{number}" for number in range(40)]
    for label in labels:
        await store.insert(new_job(label=label))
    assert await found(store, "n*", 7) == labels[::-1]
    assert await found(store, "n3*", 7) == [label for label in reversed(labels) if label.startswith("n3")]


async def test_a_message_is_found_while_it_is_current_and_for_ever_once_it_is_the_last(backend: Backend) -> None:
    store = backend.store
    job = await running_job(store, label="job")
    other = await running_job(store, label="other", owner=STRANGER)
    for message, earlier in (("Reading", "nothing"), ("Writing", "reading")):
        await store.tick([Tick(each.id, each.attempt, Progress(message=message)) for each in (job, other)], at(1))
        assert await found(store, f"job {message}") == await found(store, f"{message[:3]}*") == ["job"]
        assert await found(store, earlier) == []
    await finish(store, job, DONE, 2, Progress(message="Wrote 12 rows"))
    await backend.close()
    store = await backend.open()
    assert await found(store, "wrote row*") == ["job"]
    assert await found(store, "writing") == []


async def test_what_an_earlier_attempt_said_is_not_found(store: JobStore) -> None:
    job = await running_job(store, label="again", max_attempts=2)
    await store.finish(job, Retry(ERROR, at(900)), Progress(message="half of it"), [], at(1))
    assert await found(store, "half") == []
    assert await found(store, "again") == ["again"]
    await store.cancel(OWNER, job.id, at(2))
    page = await store.page(OWNER, JobFilter(terms=frozenset({"again"})), 9, None)
    assert [each.status for each in page.jobs] == ["cancelled"]


async def test_the_words_of_a_label_change_with_it_and_go_with_the_job(store: JobStore) -> None:
    job = await running_job(store, label="first name")
    await finish(store, job, DONE, 1, Progress(message="the last name"))
    await edit(store, job.id, label="second")
    assert await found(store, "first") == []
    assert await found(store, "second last name") == ["second"]
    await store.delete(OWNER, job.id, at(2))
    await store.insert(new_job(label="third"))
    assert await found(store, "second") == await found(store, "name") == []


async def test_running_jobs_that_were_updated_are_listed_before_their_progress_is_on_disk(store: JobStore) -> None:
    job = await running_job(store)
    await store.tick([Tick(job.id, job.attempt, Progress(percent=5.0))], at(100))
    page = await store.page(OWNER, JobFilter(updated_after=at(50)), 9, None)
    assert [each.id for each in page.jobs] == [job.id]


def test_what_is_kept_of_texts_and_searches_is_bounded() -> None:
    assert words_of(None, "", " -_- ") == frozenset()
    assert len(words_of(" ".join(map(str, range(999))))) == MOST_WORDS
    assert words_of("a" * 999) == {"a" * MOST_CHARS} == terms_of("a" * 999)
    assert terms_of("One, two* ONE three*four") == {"one", "two*", "three*", "four"}
    for query, why in (("* - _", "no word"), ("", "no word"), (" ".join(map(str, range(MOST_TERMS + 1))), "11 words")):
        with pytest.raises(ValueError, match=why):
            terms_of(query)
