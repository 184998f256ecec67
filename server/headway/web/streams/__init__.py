"""Server-sent events: the stream of one job, the stream of many jobs, and the fan-out that serves them.

A watcher is served in one of two ways, whichever stream it has:

    own task, which reads the store:  connect -> snapshot or history -> catch up -> join
                                                       ^                          |
                                        reader behind  |                          v
    fan-out, one frame for all:                        +------------ level (the task sleeps)

- level: it has been sent exactly what its group has been sent, so it shares the group's cursor and its frames.
- ahead (`Channel`) or fresh (`Audience`): it joined with something newer than the group; until the group gets there, it
  gets frames of its own.
- behind: its reader is slow or it has just connected; its own task serves it until it can join.

A group is a `Channel` for one job, with a cursor in the history and a version; its members are `Watcher`s. It is an
`Audience` for one owner and filter, with a version per job and no history; its members are `Member`s. That difference
is why there are two classes. Nothing is queued: a watcher that falls behind gets the newest state.
"""
