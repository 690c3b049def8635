"""As if it had run (promises S4 to S6): the same application with plain tasks and with cached ones.

`witness` writes down what happens in every process, `outcome` makes of it what can be compared,
`cases` and `generated` are the workflows, `places` the pools, brokers and backends.
"""
