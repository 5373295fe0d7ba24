"""evald over HTTP: the same inbox, the same database and the same results, behind routes.

Theory of operation: a request becomes a file in the inbox under a job id of ours, and from then on it is a bundle like
any other; whatever daemon of that inbox claims it judges it, and the answer is the result document it published. This
process holds nothing that would be lost with it. Where no daemon runs, `evald serve` runs one itself, in a thread.

Handlers are coroutines of one event loop; everything that may block (files, database, parsing) runs in a thread.
Waiting costs no thread: one task looks at all awaited jobs together.

The server
    serving, app                     a socket, a loop, a daemon where there is none; routes and errors put together
    connections, reader              one connection of a client; requests read off it
    gate, door, tokens               who calls, how often, how much; turns at the loop; names, roles, tokens
    methods                          what no route is written for

Routes
    routes_judging                   which judge
    routes_jobs, routes_service      about jobs; about the service
    submission                       a body to a bundle in the inbox, once
    watch, races                     waiting for jobs; waiting for one thing until another ends it
    desk, attendance                 what all of them work with; which daemons are at work
    figures, meters, cursors         /stats; Prometheus; places in a list

What is said
    answers, refusals, examples      shapes of answers; all that is not what was asked for; bodies to send
    page, reference                  the page at /docs; docs/reference/http.md
"""
