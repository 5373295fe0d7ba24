"""The walls around code that nobody trusts: policy as data, bubblewrap to build it, cgroups and rlimits to hold it.

Theory of operation
-------------------
As root, bubblewrap starts in a user namespace whose map we write from outside: 0 -> 0 and N -> N, nothing else.
Inside it, still as uid 0 but with capabilities over that namespace only, it builds the view (a read-only root of a
few binds, private tmpfs). `stage` mounts tmpfs with an inode cap, then changes to uid N, which is a uid of its own on
the host too, and drops every capability and the right to gain any. The order matters: a uid changed
before bubblewrap could not read an interpreter below a private home; `bwrap --uid N` run by root would still be root
to the host.

Not as root, bubblewrap makes its own user namespace; the cell then has the daemon's uid on the host and is held by
its mount and pid namespaces alone. `probe` states that as weaker, and every result carries the statement.

Inside, the cell's first act (`inside.confine`) is to set its rlimits and its system call filter, before any bundle
byte is read.

    policy                           the walls and limits of a cell, as data
    bubblewrap                       what builds the view
    cgroup, cell_group, idle_group   groups below the daemon's; that of one cell; one that runs when no cell wants to
    probe                            what this host can do, and how a result says so
    owner                            which process made a cgroup or a folder, and whether it lives
"""
