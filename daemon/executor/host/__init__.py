"""This machine. Trusted side.

devices, reservation             the GPUs; who is at work on one
compilers, toolkit, environment  what else is installed, and what a result says of it
supervise, processes, forks      starting a process; stopping, thawing and killing all of it; one that is a cell
threads                          whether those of a process stand still
limits                           those of the shell under which nothing can be judged
scratch                          temporary folders of our own processes
readable                         whether there is something to be read
"""
