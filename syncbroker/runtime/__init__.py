"""What goes on by itself, in one process or in many.

    nudges   messages that carry ids, on Redis or in this process
    lanes    one thing at a time, for each system and kind of work
    work     the jobs that are done in them, and the nudges that follow
    clock    announces what is due: turns of the schedule, and whatever the store says is left to do

The store is the only truth about work. A lost message costs at most a tick, a repeated one finds nothing to do,
and where only one process may do a thing it holds a lease in the database.
"""
