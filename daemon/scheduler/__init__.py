"""Which job a slot takes next, and the threads that do them. Knows no database, no disk and no engine.

workers                          threads, as many as the engine wants at once
turns                            whose job is next
faults                           what a slot leaves alone after evald has failed
heartbeats                       leases kept alive
tally                            how many jobs have ended
"""
