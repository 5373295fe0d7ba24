"""From sources to an artifact. Trusted side: what is compiled is compiled in a cell.

bundle                           the private copy: contract and files
builds, build                    what has to be compiled, from what; compiling it in a cell, and keeping it
headers                          the precompiled header of torch's extensions
"""
