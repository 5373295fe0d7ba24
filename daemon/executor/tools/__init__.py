"""What NVIDIA's tools say of a kernel: hardware counters from ncu, findings from compute-sanitizer. Trusted side.

Theory of operation
-------------------
A tool runs a kernel in a launch of its own, after the verdict and the times are settled: another cell, in the same
sandbox, the tool inside it and the kernel below the tool. It never runs beside a timed round:
`cases.inspection` and `cases.tool_runner` see to that.

What a tool reports is not to be believed as a time is. It collects in the process of the code under test, so that code
can write what it likes into it. Therefore counters are reported and never judged; they say something about kernels
that are honest, and a label at most about others. A sanitizer can make a verdict worse, never better, and one that was
asked for and did not come to its end is not a pass.

    toolbox, installed               which tools may be used on this device; where they are
    ncu, sanitizer                   their command lines, and what came out
    sections, ncu_report, grouping   names of figures; ncu's table; a result made of it
    roofline, rates, ceilings        how much of the device that was; a time beside its work; the most a device can do
"""
