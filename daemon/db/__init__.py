"""The database room: what happened to every job, on SQLite or Postgres.

`connection` opens it, `migrate` brings its schema up to date, `repository` is the only way to write rows, `history`
the way to ask about them; `records` holds what crosses the room's border. Nothing is imported here, so that a
question costs little.
"""
