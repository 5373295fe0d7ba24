"""One case of a job, from sources to a verdict and times. Trusted side.

case                             the whole of it
bench                            what the judge lends to it
preparation                      kernels that stand ready in their cells
weights                          those of the reference, in the candidate's module
hookup                           what both kernels are called with
trials                           untimed calls, whose answers are compared
verify, tolerances, findings     right or wrong, how far off it may be, and what a finished round shows
trivial                          answers that take no work, which a tolerance may accept
numerics, assessment             how exact and how repeatable answers are; what is told about that
kept_calls                       inputs and answers that are looked at later
inspection, tool_runner          one case under the tools, first the checks, then the counters; running a tool, in cells
blame                            whose fault an end was
fullness                         who holds the memory when there is none
"""
