"""The judge and its cells. Whatever runs code of a bundle is started here, and nothing else of evald is.

    evald run ── judge, builder ── zygote ── cells           each process started by the one before it
    └──────── trusted ────────┘    └── untrusted ──┘         the two share plain modules only

Folders: `backends` (kernel types, inside a cell), `sandbox` (walls and limits), `tools` (ncu, compute-sanitizer).
The modules, about in the order in which a job meets them:

The daemon's end, without torch
    local                            the engine: jobs to judges, one judge per device slot
    roster                           which slots are idle, at work, or set aside
    trusted                          a judge or a builder, as the daemon speaks to it
    workshop                         builders, which compile ahead of the judges
    controls, control, baseline      when the control is measured, which kernel it is, what it took here before
    rehearsal, smoke_test            an engine that runs nothing; one cell, for `evald doctor`
    devices, reservation             the GPUs of this host; who is at work on one
    catalog                          the kernel types there are
    compilers, toolkit, environment  what else is installed, and what a result says of it
    scratch, owner                   temporary folders; which process made a folder or cgroup, and whether it lives

Trusted programs
    start                            what judges and builders begin with
    judge                            owns inputs, answers, the clock and the verdict
    proof, yardstick                 before its first bundle: cells work; when asked: what its device can do at most
    stages, shortening               where its time went; a result that fits one message
    builder                          compiles, in build cells

From sources to an artifact
    bundle                           the private copy: contract and files
    builds, build                    what has to be compiled, from what; compiling it in a cell, and keeping it
    headers                          the precompiled header of torch's extensions

Cells, as the judge sees them
    cells, cell_settings             starting one: what it may see and use; what all of a judge have in common
    supervise, programs, threads     starting a process, stopping, thawing and killing all of it; its threads
    zygotes, spares                  forks; cells that stand ready before they are needed
    conversation, readable           one request, one answer, one deadline
    patience, capture, endings       how long it may take; what is kept of its output; what its end means

One case
    case                             the whole of it, from sources to a verdict and times
    preparation                      kernels that stand ready in their cells
    hookup, wiring                   what both kernels are called with: which tensor goes where
    trials                           untimed calls, whose answers are compared
    fullness                         who holds the memory when there is none

Content and memory
    inputs, drawing, exports         what tensors hold: drawn for every slot, or made by a bundle's get_inputs()
    memory, arena, combs             what judge and cell share; the judge's view of it; its few secret words
    verify, tolerances, findings     right or wrong, how far off it may be, and what a finished round shows
    numerics, assessment             how exact and how repeatable answers are; what is told about that

Rounds and times
    rounds, side, side_round         rounds of all sides; one kernel of a case; its part of one round
    round_turns                      which slots the calls of a round are on, in which order
    sizing, measure                  how many calls a round has; how many rounds there are
    nulls, calibration               rounds without a kernel; when they are taken, and whose they are
    looks                            more rounds, for what else is told of a time
    conditions                       what the device is like around a round, by:
    telemetry, strangers             its clocks and health; work of others on it
    cores, wakeful                   which processors take part; one that does not fall asleep
    timings, stats                   from rounds to figures
    batching, comparison             whether a call did the work of others; which kernel is faster

Inside a cell
    zygote, triton_warmup            what cells are forked from
    cell, under_tool                 serves one kernel; its parent where a tool of NVIDIA's watches
    workload                         the bundle in its cell, from files to calls
    packing, source, module_state    files; what a backend gets and gives; weights
    slots, mapping, attachments      the arguments of each call and the places of its answers, in shared memory
    exchange, leaves, unlike         tensors out and in; what may be an answer; inputs that differ in form
    preloading, advice               what kernels often want of torch; errors in words

Of both sides
    protocol, tree, misfits          messages; values in them; values that have no place there
    layout                           where tensors lie in shared memory
    driver                           calls of CUDA's driver that torch has no word for
"""
