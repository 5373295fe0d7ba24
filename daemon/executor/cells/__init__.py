"""Cells, as the judge sees them. Trusted side.

starting, settings               starting one: what it may see and use; what all of a judge have in common
zygotes, spares                  forks; cells that stand ready before they are needed
conversation                     one request, one answer, one deadline
patience, capture, endings       how long it may take; what is kept of its output; what its end means
"""
