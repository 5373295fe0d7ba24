"""Does not compile: a parenthesis is missing. The verdict is compile_error, with this file's name and line."""


def square(x):
    return (x * x
