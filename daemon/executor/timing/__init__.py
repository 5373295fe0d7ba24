"""Rounds and times. Trusted side.

measure, sizing                  how many rounds there are; how many calls one has
rounds, side, side_round         rounds of all sides; one kernel of a case; its part of one round
round_turns                      which slots the calls of a round are on, in which order
nulls, calibration               rounds without a kernel; when they are taken, and whose they are
looks                            more rounds, for what else is told of a time
hoards                           how many calls outlast what a kernel may have made before
conditions                       what the device is like around a round, by:
telemetry, strangers             its clocks and health; work of others on it
cores, wakeful                   which processors take part; one that does not fall asleep
series                           what was measured of one side, and what rounds cost without a kernel
figures, stats                   from that to figures
batching, waking                 whether a call did the work of others; whether waking up did
comparison                       which kernel is faster
stages                           where the time of the evaluation itself went
"""
