"""What NVIDIA's tools say of a kernel: hardware counters from ncu, findings from compute-sanitizer. Trusted side.

Theory of operation
-------------------
A tool runs a kernel in a launch of its own, after the verdict and the times are settled: another cell, in the same
sandbox, the tool inside it and the kernel below the tool. It never runs beside a timed round.

What a tool reports is not to be believed as a time is. It collects in the process of the code under test, so that code
can write what it likes into it. Therefore counters are reported and never judged; they say something about kernels
that are honest, and a label at most about others. A sanitizer can make a verdict worse, never better, and one that was
asked for and did not come to its end is not a pass.

`sections` names figures, `ncu_report` reads ncu's table, `grouping` makes the result of it, `roofline` says how much of
the device that was. `ncu` and `sanitizer` compose command lines and read what came out; `runner` runs them.
"""
