"""How bundles get out of the inbox, whoever drops them and however.

The inbox
    names, owner                     what the names there say; who holds a bundle, as part of its name
    readiness, tracks                which entries are complete; one of them from look to look
    tree, trailer                    one look at one; whether an archive has its end
    fairness                         whose bundle is next
    spool, moves                     the folders it moves through; one rename, and what the disk says of it
    shelves                          which entry of a folder belongs to a job
    glance                           how urgent a claimed one says it is
    pause, waiting                   an operator's pause; what lies there, for people
    submit                           dropping a bundle, as `evald submit` does

The private copy
    copying                          made of whatever was dropped
    folder, archive, gunzip          of a folder; of an archive; of what gzip has packed
    admission, regular, writing      what may enter; how it is opened; how it is written
    reading                          its contract and sources, handed to the parser
"""
