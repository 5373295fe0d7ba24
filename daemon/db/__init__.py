"""What happened to every job, on SQLite or Postgres.

Nothing is imported here, so that a question costs little. Only `repository` and its parts write rows.

    connection                       one URL in, short transactions out
    engines, postgres                what a connection is told first; one that does not wait for ever
    filesystem                       where a SQLite file may lie
    migrate, revision                the schema brought up to date; which one a database has
    copying                          all of a database into a new one
    models, columns, sqlfunctions    tables; types and expressions that both databases have

Written
    repository                       every change that is made to a job while it lives
    repository_registration          how a job enters
    repository_leases                taken, given back, taken away
    repository_publication           one evaluation as rows
    repository_daemons               what daemons say of themselves; hosts that are drained
    repository_cleanup               jobs forgotten
    repository_rows                  what all of these are built of: compare-and-set

Asked
    history                          questions about jobs
    pages                            lists of them, filtered, a page at a time
    piles, activity                  what waits for which device; what a service did lately
    statistics, label_statistics     figures over many jobs, by what contracts say and by labels
    ranking                          which run of a bundle counts
    record_rows                      rows to records

What crosses the border
    records, daemon_records          of one job; of daemons
    statistics_records               of many jobs
    samples                          raw samples in few bytes
    errors                           what is raised in place of SQLAlchemy's
"""
