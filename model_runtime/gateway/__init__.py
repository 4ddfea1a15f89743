"""Opens the service to a network: tokens, limits, other protocols. Does not generate.

Modules, each of which imports only those above it:

    auth               tokens, and what each of them may
    raw_prompt         a prompt in some family's markup to the gap it means
    compat             what a request of another protocol comes to
    openai             OpenAI's completions
    llama_cpp          llama.cpp's infills
    connection_limits  connections: bounded, timed, encrypted
    responses          handles to answers in the protocol of their path
    gateway            the service behind a port, for those who have a token
"""
