"""The trusted programs, which the daemon starts and speaks to. They run no code of a bundle.

start, confinement               what both begin with; what a judge's cells are confined by and forked from
judge, jobs                      owns inputs, answers, the clock and the verdict; one job after the other
builder                          compiles, in build cells
proof, yardstick                 before its first bundle: cells work; when asked: what its device can do at most
shortening                       a result that fits one message
"""
