"""evald: the daemon that judges GPU kernels. No logic lives here: another distribution may own this file.

A folder or a file is a room, which imports only from those further down (docs/explanation/architecture.md). Of a folder
its own `__init__` says what is in it.

How people and programs come to it
    cli                              the commands
    http, client                     the same service over HTTP; what calls it from Python and from language models

A daemon at work, in the order in which a bundle meets it
    opening, service                 what has to be there before it runs; the rooms put together, and the main loop
    watcher                          wakes it when something arrives
    intake, reception                bundles: complete, claimed, copied; their way from the inbox to the queue
    scheduler, runner                threads at slots, leases kept alive; what such a thread does with one job
    judging                          one job's way, from its claim to its end
    engine                           the seam between which job and how it is judged
    executor                         how: the judge and its cells
    evaluation                       what an engine answers
    claims                           whose job a bundle of the inbox is, and taking it
    publishing                       the end of a job: staged, recorded, released, put away
    result_document, results         what a result says; its files
    pointers                         links to the newest result of a name
    db                               what happened to every job

What it does beside that
    reconcile, holders               repairs what a kill left half done; who may still be at work with it
    returns                          gives claimed bundles back to the inbox
    retention                        forgets jobs that ended long ago
    presence, fitness                tells other daemons who is here, and whether the engine can judge
    health, notify, exposition       tells systemd and Prometheus how it is; the protocol of one, the file of the other
    listener                         who else is told what happens to jobs
    obstacles                        what keeps bundles waiting though a daemon runs
    labelled                         ends every job that carries a label
    disks, outage                    whether there is room; storage that does not answer
    stopping                         how it is told to end

What a job is, without any of that
    contract                         what a bundle says, checked
    verdict, lifecycle               what judging can find; the states of a job

The ground
    config, layers, paths            every setting; where values come from; where things lie
    belonging                        one inbox, one database
    callers                          who sends over HTTP, by the ids of their jobs
    fsio                             durable renames
    mounts, onemount, access         which mount a path is on; looking without crossing one; who else may read a file
    addresses, durations, versions   this machine's; as options take them; of what is installed
    log, failpoints                  story lines; where a test may kill a process
    sentences                        what is wrong with a value, in words
    batches                          many things, some at a time
    errors                           whose fault it is, by type
"""
