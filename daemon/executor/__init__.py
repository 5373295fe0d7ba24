"""The judge and its cells. Whatever runs code of a bundle is started here, and nothing else of evald is.

    evald run ── judge, builder ── zygote ── cells           each process started by the one before it
    └──────── trusted ────────┘    └── untrusted ──┘         the two share plain modules only

A folder is on one side of that line, and its `__init__` says what is in it.

Untrusted: in a process that runs a bundle's code, or whose forks will
    inside                           a cell, from its walls to the kernel's calls
    backends                         the kernel types: how each is built, loaded and called
    source                           what a kernel type gets and gives, whoever wrote it

On both sides
    shared                           messages, values in them, places in shared memory

Trusted, in the judge and the builders, from the whole of a job down to a process
    programs                         the judge and the builder themselves
    cases                            one case, from sources to a verdict
    tools                            ncu and compute-sanitizer: what they say of a kernel
    timing                           rounds, the device around them, figures
    artifacts                        a bundle's copy, and what is compiled from it
    content                          what tensors hold, and the memory that judge and cell share
    cells                            cells, as the judge sees them
    host                             this machine: its devices, compilers, processes, temporary folders
    sandbox                          walls and limits

The daemon's own end, trusted and without torch, about in the order in which a job meets it
    local                            the engine: jobs to judges, one judge per device slot
    judges                           the processes of judges, as the engine starts and ends them
    roster                           which slots are idle, at work, or set aside
    trusted                          a judge or a builder, as the daemon speaks to it
    workshop                         builders, which compile ahead of the judges
    controls, control, baseline      when the control is measured, which kernel it is, what it took here before
    rehearsal, smoke_test            an engine that runs nothing; one cell, for `evald doctor`
    catalog                          the kernel types there are, for the judge as well
"""
