"""evald over HTTP: the same inbox, the same database and the same results, behind routes.

Theory of operation: a request becomes a file in the inbox under a job id of ours, and from then on it is a bundle like
any other; whatever daemon of that inbox claims it judges it, and the answer is the result document it published. This
process holds nothing that would be lost with it. Where no daemon runs, `evald serve` runs one itself, in a thread.

Handlers are coroutines of one event loop; everything that may block (files, database, parsing) runs in a thread.
Waiting costs no thread: one task looks at all awaited jobs together.
"""
